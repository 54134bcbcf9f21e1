"""What Footnote does, apart from how it is asked: one service for each noun, used by HTTP and the command
line alike.
"""

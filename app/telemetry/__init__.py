"""What operators watch: logs, metrics, traces, and the log of what was asked."""

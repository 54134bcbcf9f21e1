"""Measurements that take the whole service: documents go in and answers come out the way users' do."""

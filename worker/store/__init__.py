"""Every query, one file for each family of tables.

Functions take a session and never commit: `worker.flow` owns the transactions.
"""

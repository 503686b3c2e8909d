"""Middleware, quality of service, child processes and counters."""

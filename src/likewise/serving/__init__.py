"""A server for a trained model and an index: HTTP routes, batching, and one page.

Needs the extra `serve` (FastAPI, uvicorn, prometheus-client); `likewise serve` says so where it is missing.
"""

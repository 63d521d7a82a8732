"""What the Celery engine's own tests need: more bodies, a database and a broker of their own, worker processes."""

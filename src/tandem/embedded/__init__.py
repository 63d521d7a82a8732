"""The local stack: real servers from packages and Tandem's own processes, run by one supervisor.

For development, demonstrations and tests: everything listens on 127.0.0.1 and trusts whoever can reach it there.
`tandem.embedded.stack.Stack` is the programmatic side of `manage.py tandem up`. Needs `django-tandem[embedded]`.
"""

__all__: list[str] = []

"""Programs that ask a service with clients which have an environment of their own. Each prints what it found as JSON.

`../test_clients.py` runs them. They know nothing of the project.
"""

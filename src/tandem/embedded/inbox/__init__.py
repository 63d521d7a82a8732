"""An SMTP server that keeps every message, for development, demonstrations and tests.

    python -m tandem.embedded.inbox --host 127.0.0.1 --port 1025 --http-port 1080 --directory DIRECTORY

A message is on disk before the server says 250. It is counted under its Message-ID, so a receiver that drops
duplicates keeps one of it however often it was accepted; the page and ``/messages.json`` show both numbers.

The part before the ``@`` of a recipient asks for a misbehaviour:

==================  ====================================================================================
``temporary-N``     451 to the first N attempts with one Message-ID, accepted after that
``reject``          550, always
``slow-N``          accepted after N seconds (60 at most)
``drop``            accepted and stored, but the connection closes before the 250 is sent; once per Message-ID
==================  ====================================================================================

Anything a sender or a browser sends wrong is answered, never raised. A full disk is answered with 452 and stores
nothing. SIGTERM and SIGINT stop the server at once: a message without its 250 is the sender's to send again.
"""

from tandem.embedded.inbox.server import Behaviour, Inbox
from tandem.embedded.inbox.store import Message, Store, Totals

__all__ = ["Behaviour", "Inbox", "Message", "Store", "Totals"]

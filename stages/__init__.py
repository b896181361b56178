"""A message queue server, grown one step at a time.

`STAGES` is the table of contents: the modules in reading order, each with its promise; first the
five of the article, then those beyond it. Every stage has a class `Server`.
"""

import logging

__version__ = "0.2.0"

# Silent unless somebody listens: the command line does.
logging.getLogger("stages").addHandler(logging.NullHandler())

STAGES = {  # by module
    "basic": "Subscribe to a topic, and get every message sent to it.",
    "delivery": "The sender chooses: a message for all subscribers, or for just one.",
    "caching": "The last 100 messages of a topic wait for late subscribers.",
    "last_seen": "Messages are numbered, so a subscriber that reconnects continues where it left off.",
    "disconnects": "A client that is gone is forgotten.",
    "beyond.replies": "JSON on the wire, and every command is answered.",
    "beyond.slow_consumers": "One slow reader costs its senders a second, and nobody else anything.",
    "beyond.acks": "A message handed to one worker is not lost when the worker dies.",
    "beyond.durable": "Whatever was acknowledged to the sender survives a crash.",
    "beyond.fast": "The same promises, many times as fast.",
    "beyond.cluster": "Several servers behave like one, and any of them may be killed.",
    "beyond.secure": "Nobody is in who should not be, and nobody listens in.",
}

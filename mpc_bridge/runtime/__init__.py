"""How parties run: framing, rounds, cost meter, the party process and the local launcher.

Modules, lowest first: ``transport`` (frames on sockets), ``meter`` (what was sent), ``session`` (rounds among parties),
``executor`` (a Program on an Engine), ``handshake`` (who is at the other end), ``messages`` (launcher ↔ party),
``party`` (the process), ``links`` and ``launcher`` (a local run from start to end).
"""

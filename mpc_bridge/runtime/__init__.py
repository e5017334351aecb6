"""How parties run: framing, rounds, cost meter, the party process and the local launcher.

Modules, lowest first: ``transport`` (frames on sockets), ``meter`` (what was sent), ``session`` (rounds among
parties), ``executor`` (a Program on an Engine), ``handshake`` (who is at the other end), ``config`` and ``messages``
(what launcher and party say), ``limits`` (what a party takes on), ``party`` (the process), ``links`` (the launcher's
connections), ``processes`` (start, kill, reap) and ``launcher`` (a local run from start to end).
"""

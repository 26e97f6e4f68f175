"""The watch socket `edge.watch.v1`: many windows over live lists, on one WebSocket (G3, I6; console §5.4).

    protocol.py      the messages, and how they are read and written         pure
    window.py        one window: what the client holds, what has changed     pure
    ranking.py       which objects a query finds, in order                   pure
    flow.py          acks, pace, back-pressure, pings                        pure, time is passed in
    conversation.py  all subscriptions of one socket                         pure
    operations.py    long work, read off the objects                         pure
    views.py         queries that subscriptions share, fed by collections
    sources.py       from what a client asks for to a query
    upstreams.py     kinds that are not known by heart: one watch for all who ask
    fleet.py         one kind in all clusters
    socket.py        the WebSocket itself
    routes.py        the paths, and how many sockets there are

What sockets cost is bounded by windows × rows: there is no queue of events anywhere. Whoever is slow gets
less often what is newest, never everything late.
"""

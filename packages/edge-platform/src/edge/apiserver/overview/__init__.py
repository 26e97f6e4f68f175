"""How all is, in one answer: counts by state, a tile a cluster, what is wrong (console §5.6; G3).

    board.py     counts what is put in it            pure
    feed.py      what of it one caller may see
    boards.py    one board for all who watch the same
    routes.py    GET …/overview

Worked out from what the gateway knows by heart: no member cluster is asked, and what the caller may not see
is left out before anything is counted.
"""

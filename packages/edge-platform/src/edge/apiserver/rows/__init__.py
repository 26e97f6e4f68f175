"""Objects as rows of a table: columns, values, and the window of them that somebody looks at.

    columns = columns_of("scope.theriseunion.io", "clusters", printed=...)
    items   = [project(msgspec.json.decode(stored.raw), columns) for stored in visible]
    window  = pick(items, WindowQuery(sort=read_sort("-age,name", columns), limit=100), columns)

`columns`, `jsonpath`, `status`, `project` and `window` are pure. Source: G1–G3; design console §5.3.
"""

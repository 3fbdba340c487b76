"""Tables and text for people: one file for each kind of value. Nothing here prints.

`inspection_table`, `selection_table`, `plan_table` and `results_table` take values of
the earlier rooms and return Rich renderables; `junit_xml` and `markdown_summary` return
what CI reads; `page` makes one HTML page from the files themselves. Import each from
its own file: they do not need one another's rooms.
"""

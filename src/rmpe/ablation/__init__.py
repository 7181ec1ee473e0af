"""Ablations: many rows, each a variant of the first, measured on the same photos beside published
figures.

`plan` reads what is asked for, `runs` trains or finds the nets, `measure` makes every row, `report`
writes the table.

Source: RMPE, section 5.3, Table 3.
"""

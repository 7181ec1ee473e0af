"""Ablation studies: variants of a first row, measured on the same photos, with published figures.

`plan` holds the configuration, `runs` trains or finds the nets, `measure` measures each row, and
`report` writes the table.

Source: RMPE, section 5.3, Table 3.
"""

"""Thresholds tried on recorded logs: parsed once, judged under many settings, measured as a replay measures.

`grid` says which settings there are, `sweep` tries them (`quick` in compiled code, else a replay each),
`measures` are the figures, `frontier` weighs them, `doubts` says what the history is too short to tell.
"""

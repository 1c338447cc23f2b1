"""E-Post's own tables and control files: what they say, and what in them deserves a look.

Pure but for `folders`: text in, values out. The facts come from E-Post's FAQ and the author's published
source; man/notes/0015-epost-tables.md says which of them are confirmed and which are inferred.
"""

"""Reports of runs: never samples, never certifies anything new.

summary.py   from records to certified accuracy, abstention and totals; the envelope over several runs
differences.py  the first run against each other one, image by image
claims.py    the certificates of a run in little memory
export.py    markdown and LaTeX tables, Cohen's TSV
cells.py     text as a cell of one of them
imported.py  TSV files of other programs, as they are
page.py      one self-contained HTML page, from its sections
dossier.py   one page for an auditor: claim, threat, method, confidence, evidence
sections/    one file for each table or picture of the page
axes.py      what the pictures have in common
filling.py   Jinja templates, filled in and escaped
templates/   of whole pages
"""

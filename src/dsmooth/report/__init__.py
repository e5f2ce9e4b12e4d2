"""Runs as people read them: never samples, never certifies anything new.

summary.py   from records to certified accuracy, abstention and totals; the envelope over several runs
curve.py     certified accuracy against radius, as SVG
export.py    markdown and LaTeX tables, Cohen's TSV
imported.py  TSV files of other programs, as they stand
page.py      one self-contained HTML page
templates/   its Jinja templates
"""

"""What the page of a report is made of, a table or picture each. A new one is a file here and a row in known.py.

base.py      the contract: Section (of all runs) and RunSection (of each run)
totals.py    samples, seconds, and what every certificate promises
accuracy.py  the table of certified accuracy
curve.py     certified accuracy against radius, drawn
question.py  what was asked of each image of a run, and the commitment to its key
attack.py    what `dsmooth attack` found in a run
images.py    the images of a run, with answer, radius and votes
known.py     the order in which they stand on the page

The Jinja template of each lies beside it, under the same name.
"""

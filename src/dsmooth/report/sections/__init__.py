"""What the page of a report is made of, a table or picture each. A new one is a file here and a row in known.py.

base.py      the contract: Section (of all runs) and RunSection (of each run)
totals.py    samples, seconds, and what every certificate promises
subjects.py  what was smoothed in each run, by name
accuracy.py  the table of certified accuracy
differences.py  each run compared with the first one, image by image
controls.py  the radius slider and the image filter
curve.py     certified accuracy against radius, drawn
images.py    the images of all runs, with each run's answer, radius and votes
classes.py   the classes of a run, each by itself
light.py     how far brightness, colour and side light may change
covers.py    how many images keep their answer under a family of transformations
attack.py    what `dsmooth attack` found in a run
question.py  the settings of a run, and the commitment to its key
known.py     the order in which they stand on the page

The Jinja template of each lies beside it, under the same name.
"""

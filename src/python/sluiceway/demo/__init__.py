"""The main job: an hour of a production service replayed, and the books proven.

`sluiceway demo` calls `run_demo`. The files: trace.py and synthetic.py (what came when),
workload.py (what is called), limits.py (limits and budgets), faults.py (what goes wrong), replay.py
(the calls), books.py (the proof), summary.py and series.py (figures), tables.py, picture.py,
svg.py, page.py and progress.py (what is shown), run.py (the order of things).

    from sluiceway.demo.run import Options, run_demo
    run_demo(Options(calls=300, out=Path("build/demo")))
"""

"""What fits Sluiceway into other libraries: one file each, imported only where that library is.

trio.py     `gw.aio` in tasks of trio (also under anyio); imported by the core when one awaits
gevent.py   blocking calls in greenlets; imported by the core when gevent is in the process
workers.py  children of multiprocessing and of Celery's pool close their gateways when they leave
"""

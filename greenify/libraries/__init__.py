"""Patches of other people's libraries that wait, or compute, in C: as data, applied when one is imported.

Each library has a file here, named as its patch is in ``only`` and ``skip``, and a row in
`greenify.patches.selection.LIBRARIES`.  A library that is not imported is not touched, and its file is not
loaded.  To write one:

1. **A row** in ``selection.LIBRARIES``: the patch's name, and the modules whose import it waits for (as
   `Library.modules` gives them; a test compares).  If its twins rely on patches of the standard library
   (cooperative sockets, green threads), one in ``selection.NEEDS`` as well.

2. **A file** ``greenify/libraries/<name>.py`` whose docstring says where the library waits, and that holds
   ``LIBRARY``::

       from greenify.libraries.record import Library
       from greenify.libraries.remedies import OnOwnThread, handed_over

       LIBRARY = Library(
           package="databaselib",              # on PyPI
           tested="2.0 to 2.3",
           replace={
               # A function of a module: name it where it is defined, for those who have it from there.
               "databaselib.core": {"resolve": handed_over},
               # Methods of a class in Python are replaced in place.
               "databaselib.core:Connection": {
                   "__init__": OnOwnThread(),
                   "query": OnOwnThread(interrupt=lambda connection: connection.cancel()),
                   "commit": OnOwnThread(),
                   "ping?": OnOwnThread(),     # not in every version
               },
               # What belongs to the connection runs on the connection's thread.
               "databaselib.core:Cursor": {"execute": OnOwnThread(of="connection")},
           },
           native_threads=("databaselib.poller",),
           stays={"Connection.close_now": "returns at once"},
       )

3. **Tests** in ``tests/libraries/test_<name>.py``, run with real threads too; the client into the extra
   ``libraries`` in ``setup.cfg``; a server by a fixture of ``tests/libraries/conftest.py``.

The remedies (`remedies`), the cheapest that fits:

======================== =========================================================================
``computed``             computes for long: hashes, compression
``handed_over``          waits, and belongs to no object that others use: a connect, a look-up
``OnOwnThread(of=...)``  a method of a connection, or of what belongs to one: its own native thread,
                         always the same; callers take turns, and stay until their call has ended
``instead(function)``    ``function(original, *args, **kwargs)`` is called instead: for waiting first,
                         or trying again (`greenify.core.wait`, `greenify.green._foreign.try_again`)
any ``remedy(original)`` returns what takes the place; ``remedies.like(original, twin)`` gives a
                         function the names of the original
======================== =========================================================================

A **class in C** cannot be changed in place.  Replace the module's name for it: a remedy gets the class and
returns a subclass whose methods call ``own_thread(self).call(Base.method, self, ...)``.  Where the C code
makes the objects itself (``connect()``), replace that function, or pass it its factory.  Objects without
weak references (`own_thread` raises TypeError) keep an `OwnThread` in an attribute.

**Python functions that the C code calls** (callbacks, row factories, hooks): wrap them with
`greenify.green._foreign.run_back` where the user hands them over.  They then run in the green thread that has
made the call, may wait, and may use the same object; raise there what they raise.

**Threads of the library that live in C**: ``native_threads``.  They are threads to the program as others are;
locks, queues, events and futures of a patched process work between them and green threads.

**Anything else**: ``finish={"module": function}`` with ``function(journal, module)``, which writes through
the journal only, so that `restore` undoes it.

What does not fit a new version (a name is gone, ``finish`` raises) is undone altogether, with one
`LibraryPatchWarning`; never write code for that.  Inside of a file, do not import the library at its top: it
is in `sys.modules` when a remedy or ``finish`` is called.
"""

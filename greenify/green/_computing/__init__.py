"""What computes for long in C, without the interpreter lock: compressing and hashing.

Handed to a native thread from a size on, since handing over costs 4 to 30 us.  Below it the call is made
where it is, and costs 60 to 200 ns more.  ``LONG...`` is that size in each file: bytes that take some 300 us,
so that what is handed over takes at most a tenth longer.  What holds the others up for less is of no
interest, for the time slices are 5 ms long.

Methods are replaced in C's classes themselves (``REPLACED``), so that objects from before and other people's
are cooperative, and `isinstance` and `type` say what they said.
"""

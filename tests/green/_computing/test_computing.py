"""Compressing and hashing: a thread ticks while another one computes in C, and the results are the same."""

from __future__ import annotations

import sys

import pytest

from tests.green._foreign.foreign import HELD
from tests.green._foreign.foreign import run as run_patched
from tests.green.programs import both_modes, run, same_output
from tests.support import Mode, run_python

DATA = """
    import bz2, gzip, hashlib, hmac, io, lzma, random, zlib

    rest = random.Random(7)
    TEXT = b"".join(b"%d lines, %x\\n" % (n, rest.getrandbits(20)) for n in range(60_000))
    ZEROS = bytes(1 << 20)

    class Ticker(threading.Thread):
        '''Counts; between two ticks the interpreter has run something else.'''
        def __init__(self):
            super().__init__(daemon=True)
            self.ticks = 0
        def run(self):
            while True:
                self.ticks += 1
                time.sleep(0.001)
    ticker = Ticker()
    ticker.start()

    def ticks_while(function):
        '''Repeated, for a machine under load may not run the ticker in a single short one.'''
        before, limit = ticker.ticks, time.monotonic() + LONG
        while ticker.ticks < before + 3:
            assert time.monotonic() < limit, "the ticker stands still"
            result = function()
        return result
"""

# What computes for long, by name; the expression of one call.
LONG: dict[str, str] = {
    "zlib.compress": "zlib.compress(TEXT)",
    "zlib.decompress": "zlib.decompress(PACKED)",
    "Compress.compress": "zlib.compressobj().compress(TEXT)",
    "Decompress.decompress": "zlib.decompressobj().decompress(PACKED)",
    "Decompress.flush": "rest_of(PACKED).flush()",
    "gzip.compress": "gzip.compress(TEXT)",
    "gzip.decompress": "gzip.decompress(gzip.compress(TEXT))",
    "bz2.compress": "bz2.compress(TEXT)",
    "bz2.decompress": "bz2.decompress(BZ2)",
    "BZ2Compressor.compress": "bz2.BZ2Compressor().compress(TEXT)",
    "BZ2Compressor.flush": "fed(bz2.BZ2Compressor()).flush()",
    "BZ2Decompressor.decompress": "bz2.BZ2Decompressor().decompress(BZ2)",
    "lzma.compress": "lzma.compress(TEXT[:200_000], preset=1)",
    "lzma.decompress": "lzma.decompress(LZMA)",
    "LZMACompressor.compress": "lzma.LZMACompressor(preset=1).compress(TEXT[:200_000])",
    "LZMACompressor.flush": "fed(lzma.LZMACompressor(preset=1)).flush()",
    "LZMADecompressor.decompress": "lzma.LZMADecompressor().decompress(LZMA)",
    "HASH.update": "updated(hashlib.sha256())",
    "HASHXOF.update": "updated(hashlib.shake_128())",
    "blake2b.update": "updated(hashlib.blake2b())",
    "blake2s.update": "updated(hashlib.blake2s())",
    "hashlib.pbkdf2_hmac": "hashlib.pbkdf2_hmac('sha256', b'password', b'salt', 5000)",
    "hashlib.scrypt": "hashlib.scrypt(b'password', salt=b'salt', n=4096, r=8, p=1)",
    "hmac.new": "hmac.new(b'key', ZEROS, hashlib.sha256).digest()",
    "hmac.digest": "hmac.digest(b'key', ZEROS, 'sha512')",
    "HMAC.update": "updated(hmac.new(b'key', digestmod='sha256'))",
}

PREPARED = (
    DATA
    + """
    PACKED, BZ2, LZMA = zlib.compress(TEXT), bz2.compress(TEXT), lzma.compress(TEXT[:200_000])

    def fed(compressor):
        for start in range(0, 100_000, 1000):
            compressor.compress(TEXT[start : start + 1000])
        return compressor

    def rest_of(packed):
        decompressor = zlib.decompressobj()
        decompressor.decompress(packed, 1)
        assert len(decompressor.unconsumed_tail) > 1 << 15
        return decompressor

    def updated(hash):
        hash.update(ZEROS)
        return hash.digest(8) if "shake" in hash.name else hash.digest()
"""
)


if sys.version_info >= (3, 12):
    LONG["_ZlibDecompressor.decompress"] = "zlib._ZlibDecompressor().decompress(PACKED)"


@pytest.mark.parametrize("what", LONG)
def test_the_others_run_meanwhile(what: str) -> None:
    code = (
        PREPARED
        + HELD
        + f"""
    plain = {LONG[what]}
    hold()
    assert ({LONG[what]}) == plain or "flush" in {what!r} or "compress" in {what!r}
    assert ticked and min(ticked) >= 3, ticked
    """
    )
    run(code, "patch_all")


@both_modes
def test_what_comes_out(mode: Mode) -> None:
    run(
        PREPARED
        + """
    assert zlib.decompress(zlib.compress(TEXT)) == gzip.decompress(gzip.compress(TEXT)) == TEXT
    assert bz2.decompress(bz2.compress(TEXT)) == TEXT == bz2.decompress(BZ2 + bz2.compress(b""))
    assert lzma.decompress(lzma.compress(TEXT[:9000], lzma.FORMAT_ALONE)) == TEXT[:9000]
    for kind, one_shot in ((zlib.compressobj, zlib.decompress), (bz2.BZ2Compressor, bz2.decompress)):
        compressor = kind()
        packed = b"".join([compressor.compress(TEXT), compressor.compress(b"x"), compressor.flush()])
        assert one_shot(packed) == TEXT + b"x"
    decompressor, pieces, data = zlib.decompressobj(), [], PACKED
    while not decompressor.eof:
        pieces.append(decompressor.decompress(data, 100_000))
        assert len(pieces[-1]) <= 100_000
        data = decompressor.unconsumed_tail
    assert b"".join(pieces) == TEXT
    for name in sorted(hashlib.algorithms_guaranteed):
        length = (8,) if name.startswith("shake") else ()
        whole = hashlib.new(name, ZEROS).digest(*length)
        parts = hashlib.new(name)
        for start in range(0, len(ZEROS), 100_000):
            parts.update(memoryview(ZEROS)[start : start + 100_000])
        assert whole == parts.digest(*length) == getattr(hashlib, name)(ZEROS).digest(*length), name
    for data in (b"m", ZEROS):
        hashes = [hashlib.sha256, "sha256", lambda data=b"": hashlib.sha256(data)]
        made = {hmac.new(b"k", data, kind).digest() for kind in hashes}
        assert made == {hmac.digest(b"k", data, kind) for kind in hashes} and len(made) == 1
    if hasattr(hashlib, "file_digest"):
        assert hashlib.file_digest(io.BytesIO(ZEROS), "md5").digest() == hashlib.md5(ZEROS).digest()
    """,
        mode,
    )


def test_errors_and_names_are_the_native_ones() -> None:
    same_output(
        PREPARED
        + """
    import copy, inspect, pickle
    for call in (
        lambda: zlib.compress("text"), lambda: zlib.compress(TEXT, 77),
        lambda: zlib.decompress(TEXT), lambda: zlib.decompress(PACKED[:-9]), lambda: zlib.decompress(3),
        lambda: zlib.decompressobj().decompress(PACKED, -1), lambda: zlib.decompressobj().flush(0),
        lambda: bz2.compress("text"), lambda: lzma.compress(b"", 99), lambda: lzma.compress(7),
        lambda: lzma.compress(b"", check=77), lambda: bz2.compress(b"", 10), lambda: bz2.decompress(TEXT),
        lambda: bz2.BZ2Compressor().compress(None), lambda: lzma.compress(TEXT, 99),
        lambda: lzma.decompress(TEXT), lambda: lzma.LZMADecompressor().decompress(LZMA, "x"),
        lambda: hashlib.sha256("text"), lambda: hashlib.sha256(3), lambda: hashlib.new("nothing", ZEROS),
        lambda: hashlib.sha256().update("text" * 99999),
        lambda: hashlib.pbkdf2_hmac("nothing", b"", b"", 5000),
        lambda: hashlib.scrypt(b"x", salt=b"y", n=4095, r=8, p=1), lambda: hmac.new(b"k", ZEROS),
        lambda: hmac.new(b"k", ZEROS, "nothing"), lambda: hmac.new(b"k", "text", "md5"),
    ):
        print(outcome(call))
    compressor = bz2.BZ2Compressor()
    compressor.flush()
    print(outcome(compressor.flush), outcome(compressor.compress, TEXT))
    for function in (
        zlib.compress, zlib.decompress, bz2.compress, lzma.compress, hashlib.sha256, hashlib.new,
        hashlib.pbkdf2_hmac,
        bz2.BZ2Compressor.compress, type(hashlib.md5()).update, hmac.digest,
        type(zlib.compressobj()).compress,
    ):
        print(function.__name__, function.__qualname__, function.__doc__)
    for function in (zlib.compress, zlib.decompress, bz2.compress, lzma.compress, hashlib.pbkdf2_hmac):
        print(inspect.signature(function), pickle.loads(pickle.dumps(function)) is not None)
    for thing in (hashlib.sha256(), zlib.compressobj(), bz2.BZ2Compressor(), lzma.LZMADecompressor()):
        print(type(thing), isinstance(thing, type(thing)))
    print(hashlib.sha256(string=b"x").hexdigest() if sys.version_info < (3, 14) else "")
    print(hashlib.md5(b"x", usedforsecurity=False).hexdigest(), copy.copy(hashlib.md5)(b"x").hexdigest())
    """
    )


def test_what_is_small_stays_where_it_is() -> None:
    run(
        PREPARED
        + """
    LZMA_SMALL = lzma.compress(b"x" * 100)
    from greenify.core.workers import Workers
    started = []
    Workers.start = lambda pool, *call: started.append(call)
    zlib.decompress(zlib.compress(b"x" * 1000))
    assert bz2.decompress(bz2.compress(b"x" * 900)) == b"x" * 900
    assert lzma.decompress(LZMA_SMALL) == b"x" * 100 == lzma.decompress(lzma.compress(b"x" * 100))
    hashlib.sha256(bytes(1 << 15)).update(bytes(1 << 15))
    hmac.digest(b"k", bytes(1024), "sha1")
    hashlib.pbkdf2_hmac("sha256", b"", b"", 100)
    hashlib.scrypt(b"", salt=b"", n=2, r=8, p=1)
    assert not started, started
    """,
        "patch_all",
    )


def test_objects_from_before_are_cooperative_and_all_comes_back() -> None:
    result = run_python(
        """
import bz2, hashlib, hmac, lzma, zlib, warnings
warnings.simplefilter("error")
from hashlib import sha256
before = hashlib.sha256()
methods = type(before).update, bz2.BZ2Compressor.compress, type(zlib.compressobj()).compress
looks = [dict(vars(cls)) for cls in (type(before), bz2.BZ2Compressor, lzma.LZMACompressor, hashlib.blake2b)]
import greenify
for _ in range(2):
    greenify.patch_all()
    assert type(before).update is not methods[0]
    before.update(bytes(1 << 20))
    greenify.restore()
    assert (type(before).update, bz2.BZ2Compressor.compress, type(zlib.compressobj()).compress) == methods
    assert looks == [
        dict(vars(cls)) for cls in (type(before), bz2.BZ2Compressor, lzma.LZMACompressor, hashlib.blake2b)]
before.update(bytes(1 << 20))
assert before.digest() == sha256(bytes(3 << 20)).digest()
""",
        greenify=False,
        check=True,
    )
    assert result.stderr == "", result.stderr


def test_who_is_killed_leaves_a_hash_when_the_call_has_ended() -> None:
    run_patched("""
import hashlib
from greenify.core.workers import Workers
gate, work = Gate(), Workers.start
def held(pool, function, *args):
    work(pool, lambda: (gate.wait(), function(*args)))
data, hashed = bytes(1 << 20), hashlib.sha256()
expected = hashlib.sha256(data).digest()
Workers.start = held
task = greenify.spawn(hashed.update, data)
until(lambda: gate.begun)
task.kill()
assert not task.join(0.01)
gate.open()
assert task.join(LONG)
assert hashed.digest() == expected
""")


@pytest.mark.skipif(sys.version_info < (3, 14), reason="compression.zstd came with CPython 3.14")
@both_modes
def test_zstd(mode: Mode) -> None:
    run(
        PREPARED
        + """
    from compression import zstd
    packed = zstd.compress(TEXT)
    assert zstd.decompress(packed) == TEXT
    compressor = zstd.ZstdCompressor()
    assert zstd.decompress(compressor.compress(TEXT) + compressor.flush()) == TEXT
    assert ticks_while(lambda: zstd.compress(TEXT, 10))
    assert ticks_while(lambda: zstd.decompress(packed)) == TEXT
    """,
        mode,
    )


def test_whichever_is_imported_first() -> None:
    """Each module of the standard library that is patched at its import, alone in a process."""
    code = """
        import importlib, os, sys, traceback
        import greenify
        greenify.patch_all()
        from greenify.patches.importing import _finder

        names = [name for name in _finder._actions if name.partition(".")[0] in sys.stdlib_module_names]
        assert {"hashlib", "hmac", "zlib", "bz2", "lzma", "asyncio.events"} <= {*names, *sys.modules}
        for name in sorted({*names} - {*sys.modules}):
            child = os.fork()
            if not child:
                try:
                    importlib.import_module(name)
                except ModuleNotFoundError as exc:
                    assert exc.name and exc.name.partition(".")[0] in sys.stdlib_module_names  # not built
                except BaseException:
                    traceback.print_exc()
                    os._exit(1)
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0, name
    """
    run_python(code, timeout=120, greenify=False)

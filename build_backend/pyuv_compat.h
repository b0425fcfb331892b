/* Included before every file of pyuv 1.4.0 (2017), which uses what CPython 3.10 to 3.12 took away. */
#if defined(__has_include)
#if __has_include(<Python.h>)
#include <Python.h>

/* pyuv revives a handle that dies unclosed, and restores its reference count with `Py_REFCNT(self) = n`.
 * Since 3.10 Py_REFCNT is a function; this is the lvalue that it was, and nothing more. */
#if PY_VERSION_HEX >= 0x030A0000
#undef Py_REFCNT
#define Py_REFCNT(ob) (((PyObject *) (ob))->ob_refcnt)
#endif

/* Gone in 3.11 and 3.12.  pyuv names the three in one expression (reached only where the file system encoding
 * is unknown, so never on POSIX), which together means: encode `unicode` as UTF-8. */
#if PY_VERSION_HEX >= 0x030B0000
#undef PyUnicode_EncodeUTF8
#undef PyUnicode_AS_UNICODE
#undef PyUnicode_GET_SIZE
#define PyUnicode_AS_UNICODE(unicode) (unicode)
#define PyUnicode_GET_SIZE(unicode) 0
#define PyUnicode_EncodeUTF8(unicode, size, errors) PyUnicode_AsEncodedString(unicode, "utf-8", errors)
#endif

#endif
#endif

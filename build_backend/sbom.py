"""What the wheel carries of others, as a CycloneDX document: https://cyclonedx.org/docs/1.6/json/.

PEP 770 says where in the wheel it stands: ``.dist-info/sboms/``.
"""

import json

from build_backend import sdist

NAME = "greenify.cdx.json"
# The libuv that pyuv 1.4.0 carries (include/uv/version.h in its deps); a test asks the compiled module.
LIBUV = "1.13.2-dev"


def _component(name, version, license, purl, **more):
    component = {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "licenses": [{"license": {"id": license}}],
        "purl": purl,
    }
    component.update(more)
    return component


def text(version):
    """The document for greenify `version`; the same for the same version, whenever it is made."""
    greenify = _component("greenify", version, "MIT", "pkg:pypi/greenify@" + version)
    pyuv = _component(
        "pyuv",
        sdist.VERSION,
        "MIT",
        "pkg:pypi/pyuv@" + sdist.VERSION,
        hashes=[{"alg": "SHA-256", "content": sdist.SHA256}],
        description="compiled from the published sdist, whose hash this is",
    )
    libuv = _component(
        "libuv",
        LIBUV,
        "MIT",
        "pkg:generic/libuv@" + LIBUV,
        description="as pyuv's sdist carries it",
    )
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": greenify},
        "components": [pyuv, libuv],
        "dependencies": [
            {"ref": greenify["bom-ref"], "dependsOn": [pyuv["bom-ref"]]},
            {"ref": pyuv["bom-ref"], "dependsOn": [libuv["bom-ref"]]},
        ],
    }
    return json.dumps(document, indent=2, sort_keys=True) + "\n"

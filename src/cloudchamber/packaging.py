# SPDX-License-Identifier: Apache-2.0
"""Local code that a template names, built into archives that can be uploaded.

Found: `CodeUri` of ``AWS::Serverless::Function``, `ContentUri` of ``AWS::Serverless::LayerVersion``, `Code` of
``AWS::Lambda::Function`` (a path instead of a bucket and key), and bundles for instances that the template declares::

    Metadata:
      Assets:
        App: {Path: app, BucketParameter: AppBucket, KeyParameter: AppKey}

An archive is deterministic: the same files give the same bytes, so that an unchanged folder is no change of the stack.
Packages of a ``requirements.txt`` are installed into the archive, by this interpreter, and kept in a cache.
"""

from __future__ import annotations

import copy
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from cloudchamber.base.errors import ChamberError, ServiceError
from cloudchamber.sandbox import interpreters
from cloudchamber.services.cloudformation.kinds import is_map
from cloudchamber.services.cloudformation.reading import read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Tell = Callable[[str], None]

EXCLUDED = frozenset(
    {
        ".git",
        ".aws-sam",
        ".cloudchamber",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
        ".venv",
        "__pycache__",
        "node_modules",
        "tests",
        "venv",
    }
)
ARCHIVE_MAX_BYTES = 262_144_000
_EPOCH = (1980, 1, 1, 0, 0, 0)
_PATHS = {
    "AWS::Serverless::Function": "CodeUri",
    "AWS::Serverless::LayerVersion": "ContentUri",
    "AWS::Lambda::Function": "Code",
}
_MEMBERS = {
    "AWS::Serverless::Function": ("Bucket", "Key"),
    "AWS::Serverless::LayerVersion": ("Bucket", "Key"),
    "AWS::Lambda::Function": ("S3Bucket", "S3Key"),
}


@dataclass(frozen=True, slots=True)
class Reference:
    """One place of a template that names local code. `resource` is empty for an asset of an instance."""

    name: str
    path: Path
    resource: str = ""
    kind: str = ""
    bucket_parameter: str = ""
    key_parameter: str = ""
    python: str = ""
    """The interpreter that will run it, for which its packages are installed; empty for this process's own."""


@dataclass(frozen=True, slots=True)
class Package:
    """A template's code, built. `archives` are the zips by the keys under which they are to be uploaded."""

    body: Mapping[str, Any]
    archives: Mapping[str, Path]
    keys: Mapping[Reference, str]

    def resolve(self, bucket: str) -> tuple[str, dict[str, str]]:
        """The template that names the archives in `bucket`, and the parameters that name its assets."""
        body = copy.deepcopy(dict(self.body))
        parameters: dict[str, str] = {}
        for reference, key in self.keys.items():
            if reference.resource:
                properties = body["Resources"][reference.resource].setdefault("Properties", {})
                place = dict(zip(_MEMBERS[reference.kind], (bucket, key), strict=True))
                properties[_PATHS[reference.kind]] = place
            else:
                parameters |= {reference.bucket_parameter: bucket, reference.key_parameter: key}
        return yaml.safe_dump(body, sort_keys=False, width=120), parameters


def digest(data: bytes) -> str:
    """What names content in keys: 32 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(data).hexdigest()[:32]


def copy_example(folder: Path) -> None:
    """Copy the flagship app to a new folder.

    Raises:
        ChamberError: the folder has something in it, or the app is not part of this installation.
    """
    here = Path(__file__).resolve().parent
    for example in (here / "examples" / "profile-app", here.parents[1] / "examples" / "profile-app"):
        if example.is_dir():
            break
    else:
        raise ChamberError("the example app is not part of this installation", "take it from the project's repository")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ChamberError(f"{folder} exists and is not empty", "give the name of a new folder")
    ignored = shutil.ignore_patterns(*(EXCLUDED - {"tests"}), "*.pyc")
    shutil.copytree(example, folder, ignore=ignored, dirs_exist_ok=True)


def references(template: Path) -> list[Reference]:
    """The local code that a template names.

    Raises:
        ChamberError: the template cannot be read, or names what is not there.
    """
    body = _body(template)
    found: list[Reference] = []
    resources: dict[str, Any] = body.get("Resources") or {}
    for name, resource in resources.items():
        if not is_map(resource) or resource.get("Type") not in _PATHS:
            continue
        kind = str(resource["Type"])
        properties: dict[str, Any] = resource.get("Properties") or {}
        value = properties.get(_PATHS[kind])
        value = value if value is not None else _from_globals(body, kind, properties)
        if isinstance(value, str) and not value.startswith("s3://"):
            python = _python(body, kind, properties)
            found.append(Reference(name, _inside(template, name, value), name, kind, python=python))
    metadata: dict[str, Any] = body.get("Metadata") or {}
    assets: Any = metadata.get("Assets") or {}
    if not is_map(assets):
        raise ChamberError(f"{template}: Metadata.Assets must be a map of assets")
    for name, asset in assets.items():
        if not is_map(asset) or not {"Path", "BucketParameter", "KeyParameter"} <= set(asset):
            raise ChamberError(f"{template}: asset {name} must have Path, BucketParameter and KeyParameter")
        path = _inside(template, name, str(asset["Path"]))
        found.append(Reference(name, path, "", "", str(asset["BucketParameter"]), str(asset["KeyParameter"])))
    return found


def certain_types(template: Path) -> set[str]:
    """Types of the resources that a template makes under every condition."""
    resources: dict[str, Any] = _body(template).get("Resources") or {}
    return {str(r.get("Type")) for r in resources.values() if is_map(r) and "Condition" not in r}


def parameter_names(template: Path) -> set[str]:
    """Names of the parameters that a template declares."""
    parameters: Any = _body(template).get("Parameters") or {}
    return {str(name) for name in parameters} if is_map(parameters) else set()


def _from_globals(body: Mapping[str, Any], kind: str, properties: Mapping[str, Any]) -> Any:
    if kind != "AWS::Serverless::Function" or {"InlineCode", "CodeUri", "ImageUri"} & set(properties):
        return None
    everywhere: dict[str, Any] = body.get("Globals") or {}
    functions: dict[str, Any] = everywhere.get("Function") or {}
    return functions.get("CodeUri")


def _python(body: Mapping[str, Any], kind: str, properties: Mapping[str, Any]) -> str:
    """What the chamber will run a function on."""
    everything: dict[str, Any] = body.get("Globals") or {}
    everywhere: dict[str, Any] = everything.get("Function") or {}
    runtime: Any = properties.get("Runtime") or (
        everywhere.get("Runtime") if kind.startswith("AWS::Serverless") else None
    )
    named = re.fullmatch(r"python3\.(\d{1,2})", runtime) if isinstance(runtime, str) else None
    return interpreters.python(int(named[1]))[0] if named else ""


def _body(template: Path) -> dict[str, Any]:
    try:
        return read(template.read_text(encoding="utf-8"))
    except OSError as error:
        raise ChamberError(f"cannot read {template}: {error.strerror}") from error
    except (ServiceError, UnicodeDecodeError) as error:
        raise ChamberError(f"{template}: {error}") from error


def _inside(template: Path, name: str, text: str) -> Path:
    path = (template.parent / text).resolve()
    if not path.exists():
        raise ChamberError(f"{template}: {name} names {text}, which does not exist")
    return path


def package(template: Path, cache: Path, tell: Tell = lambda line: None) -> Package:
    """Build everything that a template names.

    Args:
        cache: a folder to keep archives and installed packages in.
        tell: hears a line for each step that takes time.

    Raises:
        ChamberError: a folder cannot be built; its hint holds the installer's words.
    """
    archives: dict[str, Path] = {}
    keys: dict[Reference, str] = {}
    built: dict[tuple[Path, str], str] = {}
    for reference in references(template):
        one = reference.path, reference.python
        if one not in built:
            tell(f"building {reference.name} from {reference.path.name}")
            made = archive(reference.path, cache, tell, reference.python)
            built[one] = f"code/{made.name}"
            archives[built[one]] = made
        keys[reference] = built[one]
    return Package(_body(template), archives, keys)


def archive(path: Path, cache: Path, tell: Tell = lambda line: None, python: str = "") -> Path:
    """A folder (or one file) as a zip in the cache, with the packages of its ``requirements.txt`` for a Python.

    Its name is a digest of what is in it; what is in the cache already is not built again.

    Raises:
        ChamberError: it is too big, or its packages cannot be installed.
    """
    kept = cache / "archives"
    kept.mkdir(parents=True, exist_ok=True)
    files = _collect(path, cache / "packages", tell, python)
    made = kept / f"{_manifest(files)}.zip"
    if not made.exists():
        partial = made.with_suffix(f".{os.getpid()}")
        if path.is_file() and path.suffix == ".zip":
            shutil.copyfile(path, partial)
        else:
            _zip(files, partial)
        partial.rename(made)
    return made


def _collect(path: Path, packages: Path, tell: Tell, python: str) -> dict[str, Path]:
    """The files of an archive by their names in it."""
    if path.is_file():
        return {path.name: path}
    files: dict[str, Path] = {}
    requirements = path / "requirements.txt"
    if requirements.is_file():
        files.update(_files(_installed(requirements, packages, tell, python), frozenset({"__pycache__", "bin"})))
    # Why after the packages: a module of the folder's own wins over an installed one of the same name.
    files.update(_files(path, EXCLUDED))
    size = sum(file.stat().st_size for file in files.values())
    if size > ARCHIVE_MAX_BYTES:
        raise ChamberError(f"{path} is {size:,} bytes; at most {ARCHIVE_MAX_BYTES:,} can be deployed")
    return files


def _manifest(files: Mapping[str, Path]) -> str:
    """A digest of names, contents and which can be executed."""
    whole = hashlib.sha256()
    for name in sorted(files):
        with files[name].open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        whole.update(f"{content} {_mode(files[name]):o} {name}\n".encode())
    return whole.hexdigest()[:32]


def _mode(file: Path) -> int:
    return 0o100755 if file.stat().st_mode & 0o100 else 0o100644


def _files(folder: Path, excluded: frozenset[str]) -> dict[str, Path]:
    return dict(_walk(folder, excluded))


def _walk(folder: Path, excluded: frozenset[str]) -> Iterator[tuple[str, Path]]:
    """The files of a folder, whoever they are links to, if that lies in the folder too.

    Raises:
        ChamberError: a link leads out of it, to what was never meant to be deployed.
    """
    top = folder.resolve()
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in excluded)
        for name in sorted(names):
            file = Path(where, name)
            if not name.endswith(".pyc") and file.is_file():
                if file.is_symlink() and not file.resolve().is_relative_to(top):
                    raise ChamberError(
                        f"{file} is a link to {file.resolve()}, which is not in {folder}",
                        "put a copy in its place, or the link out of the folder",
                    )
                yield file.relative_to(folder).as_posix(), file


def _zip(files: Mapping[str, Path], path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as target:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = _mode(files[name]) << 16
            target.writestr(entry, files[name].read_bytes())


def _installed(requirements: Path, cache: Path, tell: Tell, python: str) -> Path:
    """A folder with the packages of a requirements file; made once for each content and interpreter."""
    version = f"{python or sys.implementation.cache_tag}-{sys.platform}-{os.uname().machine}"
    digest = hashlib.sha256(requirements.read_bytes() + b"\0" + version.encode()).hexdigest()[:32]
    ready = cache / digest
    if ready.is_dir():
        return ready
    tell(f"installing the packages of {requirements.parent.name}/{requirements.name}")
    cache.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f"{digest}.", dir=cache))
    try:
        _install(requirements, made, tell, python)
        try:
            made.rename(ready)
        except OSError:
            # Why: another build made the same folder first; both are alike.
            if not ready.is_dir():
                raise
        return ready
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _install(requirements: Path, target: Path, tell: Tell, python: str) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        *(("--python", python) if python else ()),
        "install",
        "--no-input",
        "--disable-pip-version-check",
        "--no-compile",
    ]
    command += ["--no-warn-script-location", "--target", str(target), "-r", requirements.name]
    with subprocess.Popen(
        command, cwd=requirements.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        last: list[str] = []
        for line in process.stdout or ():
            last = [*last[-19:], line.rstrip()]
            if line.startswith(("Collecting", "Installing")):
                tell(f"  {line.strip()[:100]}")
    if process.returncode != 0:
        raise ChamberError(f"cannot install the packages of {requirements}", "\n".join(last))

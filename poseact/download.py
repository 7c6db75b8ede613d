"""Files from the network: gone on with where an earlier try was cut, verified, and never half there.

While a file `x` is fetched, `x.part` and `x.part.json` hold what has come (see `partial`), and `.x.lock` keeps a
second process waiting. Nothing is asked of a server before `fetch` is called.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import logging
import os
import re
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from .errors import ModelError
from .files import written_aside
from .partial import Identity, Partial

if TYPE_CHECKING:
    from requests import Response, Session

log = logging.getLogger(__name__)

# Told how many bytes are here, and of how many (None: the server does not say).
Progress = Callable[[int, int | None], None]

# Seconds: to connect, and without a byte before a connection counts as stalled.
_TIMEOUT = (10.0, 30.0)
# Pauses of urllib3's Retry in seconds: none, then this times 2, 4, 8.
_BACKOFF = 0.5
_TRIES = 4
# A server that cannot be reached is rarely there a second later; one that is merely busy often is.
_CONNECT_TRIES = 1
_BUSY = (408, 429, 500, 502, 503, 504)
# Bytes written at a time; what has come of a block is lost if the connection is cut.
_BLOCK = 1 << 14


class _Unreachable(ModelError):
    """The network or the server is at fault, so that a mirror may help."""


class _WrongFile(ModelError):
    """What came is not what was asked for."""


def offline() -> bool:
    """Whether POSEACT_OFFLINE forbids downloads."""
    return os.environ.get("POSEACT_OFFLINE", "").strip().lower() not in ("", "0", "false", "no", "off")


def sha256_of(path: Path) -> str:
    """Hex digest of a file. Raises OSError if it cannot be read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def fetch(
    url: str,
    target: Path,
    *,
    mirrors: Sequence[str] = (),
    member: str | None = None,
    size: int | None = None,
    sha256: str | None = None,
    announce: Callable[[str], None] | None = None,
    on_progress: Progress | None = None,
) -> Path:
    """Download `url` to `target`, unless it is there already, and return `target`.

    mirrors: other addresses of the same file, tried in turn where a server cannot be reached. member: name of the one
    file to take out of the zip archive that the URLs give; an archive that lies beside `target` under the URL's own
    name is used without a download. size (bytes), sha256 (hex digest): of the file at `target`, None if not known.
    announce: told each URL before it is asked. on_progress: told where the download starts, then after each block.

    Connections that are cut or stall are tried again with growing pauses and go on where they stopped, also in a
    later call, if the server can and the file there is still the same. Proxies are those of the environment.
    Raises ModelError: not to be had, forbidden by POSEACT_OFFLINE, not the file that was meant, no space.
    """
    wanted = _Wanted(target, member, size, sha256)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _alone(target):
            if target.is_file():
                wanted.check(target, str(target))
            else:
                told = announce or (lambda url: None), on_progress or (lambda done, total: None)
                _obtain((url, *mirrors), wanted, *told)
    except OSError as error:
        raise ModelError(
            f"{target} cannot be written ({error.strerror or error}); mend that, or set POSEACT_HOME to another folder"
        ) from error
    return target


@dataclass(frozen=True)
class _Wanted:
    """What is to lie at `target` in the end."""

    target: Path
    member: str | None
    size: int | None
    sha256: str | None

    def place_by_hand(self, url: str) -> Path:
        """Where a user can put what the URL gives."""
        return self.target.parent / PurePosixPath(unquote(urlsplit(url).path)).name if self.member else self.target

    @property
    def download_size(self) -> int | None:
        return None if self.member else self.size

    def check(self, path: Path, source: str) -> None:
        """Raises _WrongFile if the file at `path`, which came from `source`, is not the one wanted."""
        if self.size is not None and path.stat().st_size != self.size:
            raise _WrongFile(f"{source} gave another file: {path.stat().st_size} bytes instead of {self.size}")
        if self.sha256 is not None and (digest := sha256_of(path)) != self.sha256:
            raise _WrongFile(f"{source} gave another file: SHA-256 {digest} instead of {self.sha256}")


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """No other process fetches this target meanwhile; who comes second finds the file of the first."""
    from filelock import FileLock, Timeout

    lock = FileLock(target.with_name(f".{target.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.warning("waiting for another process that downloads %s", target.name)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _obtain(urls: Sequence[str], wanted: _Wanted, announce: Callable[[str], None], on_progress: Progress) -> None:
    """Have the file from the first of the URLs that can be reached."""
    for url in urls:
        archive = wanted.place_by_hand(url)
        if wanted.member and archive.is_file():
            return _unpack(archive, str(archive), wanted)
    if offline():
        raise ModelError(
            f"{wanted.target.name} is not on this machine and POSEACT_OFFLINE is set; put {urls[0]} at "
            f"{wanted.place_by_hand(urls[0])}, or unset POSEACT_OFFLINE"
        )
    for url, mirror in itertools.zip_longest(urls, urls[1:]):
        announce(url)
        try:
            return _obtain_from(url, wanted, on_progress)
        except _Unreachable as error:
            if mirror is None:
                place = wanted.place_by_hand(url)
                raise ModelError(f"{error}; try again later, or put that file at {place}") from error
            log.warning("%s; trying a mirror", error)
    return None


def _obtain_from(url: str, wanted: _Wanted, on_progress: Progress) -> None:
    partial = Partial(wanted.target)
    goes_on = partial.done(url) > 0
    try:
        _receive_all(url, wanted, partial, on_progress)
        if wanted.member:
            _unpack(partial.path, url, wanted)
        else:
            wanted.check(partial.path, url)
            os.replace(partial.path, wanted.target)
    except _WrongFile:
        partial.discard()
        if goes_on:  # the older part may be what is wrong, so one try without it
            return _obtain_from(url, wanted, on_progress)
        raise
    except KeyboardInterrupt:
        kept = partial.done(url)
        told = f"interrupted; {kept / 1e6:.1f} MB of {url} are kept for the next try"
        raise KeyboardInterrupt(*[told] if kept else []) from None
    partial.discard()
    return None


def _receive_all(url: str, wanted: _Wanted, partial: Partial, on_progress: Progress) -> None:
    """Fill `partial`, over as many connections as that takes; gives up when none brings more than those before."""
    from requests import RequestException
    from urllib3.exceptions import MaxRetryError
    from urllib3.util import Retry

    patience = retries = Retry(total=_TRIES, backoff_factor=_BACKOFF)
    farthest = 0
    with _session() as session:
        whole = partial.is_whole(url)
        while not whole:
            try:
                _receive(session, url, wanted, partial, on_progress)
                whole = True
            except _Cut as cut:
                if partial.size > farthest:
                    farthest, retries = partial.size, patience
                try:
                    retries = retries.increment(error=cut)
                except MaxRetryError:
                    raise _unreachable(url, str(cut)) from cut
                log.info("%s: %s after %d bytes, trying again", url, cut, partial.size)
                retries.sleep()
            except RequestException as error:
                raise _unreachable(url, _reason(error)) from error


class _Cut(Exception):
    """The connection ended or stalled before the file did."""


def _receive(session: Session, url: str, wanted: _Wanted, partial: Partial, on_progress: Progress) -> None:
    """Append to `partial` what one connection brings. Raises _Cut if that is not all."""
    from requests import RequestException

    with _open(session, url, wanted, partial) as answer, partial.path.open("ab") as file:
        done, total = file.tell(), Identity.of(url, answer).length
        on_progress(done, total)
        try:
            for block in answer.iter_content(_BLOCK):
                file.write(block)
                done += len(block)
                if wanted.download_size is not None and done > wanted.download_size:
                    raise _WrongFile(f"{url} gave another file: more than the {wanted.download_size} bytes expected")
                on_progress(done, total)
        except RequestException as error:
            raise _Cut(_reason(error)) from error
        if done < (total or wanted.download_size or 0):
            raise _Cut("the connection was cut")
        file.flush()
        os.fsync(file.fileno())  # a file that is renamed into place must survive a power cut whole


def _open(session: Session, url: str, wanted: _Wanted, partial: Partial) -> Response:
    """The server's answer; `partial` then holds the bytes that the answer goes on from, if only none."""
    done = partial.done(url)
    answer = _ask(session, url, done)
    if answer.status_code == 206 and _goes_on(answer, done) and partial.identity == Identity.of(url, answer):
        return answer
    if answer.status_code in (206, 416):  # the file there is another one now
        answer.close()
        answer = _ask(session, url, 0)
    try:
        _refuse(answer, url, wanted)
    except ModelError:
        answer.close()
        raise
    partial.begin(Identity.of(url, answer))
    return answer


def _ask(session: Session, url: str, start: int) -> Response:
    headers = {"Range": f"bytes={start}-"} if start else {}
    return session.get(url, headers=headers, stream=True, timeout=_TIMEOUT)


def _goes_on(answer: Response, start: int) -> bool:
    return start > 0 and answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")


def _refuse(answer: Response, url: str, wanted: _Wanted) -> None:
    """Raises ModelError for an answer that cannot be the whole of the wanted file."""
    headers = answer.headers
    if answer.status_code != 200:
        raise _unreachable(url, f"the server answers {answer.status_code} {answer.reason}")
    if headers.get("Content-Type", "").startswith("text/html"):
        raise _unreachable(url, "a web page comes instead, perhaps of a proxy or a login to the network")
    if headers.get("Content-Encoding", "identity") != "identity":
        raise _unreachable(url, "it is sent compressed, which was not asked for")
    length = Identity.of(url, answer).length
    if length is not None and wanted.download_size not in (None, length):
        raise _WrongFile(f"{url} gave another file: {length} bytes instead of {wanted.download_size}")
    checkable = wanted.download_size or wanted.sha256 or wanted.member or headers.get("Transfer-Encoding")
    if length is None and not checkable:
        raise _unreachable(url, "the server does not say how long it is, so a cut could not be noticed")


def _session() -> Session:
    """Connections that are tried again while a server is busy or silent, with the environment's proxies."""
    from requests import Session
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    from . import __version__

    retries = Retry(
        total=_TRIES,
        connect=_CONNECT_TRIES,
        read=_CONNECT_TRIES,
        backoff_factor=_BACKOFF,
        status_forcelist=_BUSY,
        raise_on_status=False,
        respect_retry_after_header=False,  # it may ask for hours
    )
    session = Session()
    session.headers.update({"User-Agent": f"poseact/{__version__}", "Accept-Encoding": "identity"})
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(max_retries=retries))
    return session


def _unreachable(url: str, reason: str) -> _Unreachable:
    way = f" by way of the proxy {proxy} (HTTP_PROXY, HTTPS_PROXY, NO_PROXY)" if (proxy := _proxy(url)) else ""
    return _Unreachable(f"{url} cannot be downloaded{way}: {reason}")


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for the URL, without user and password."""
    from requests.utils import get_environ_proxies, select_proxy

    proxy = select_proxy(url, get_environ_proxies(url))
    return re.sub(r"//[^/@]*@", "//", proxy) if proxy else None


def _reason(error: BaseException) -> str:
    """The innermost of the errors that the libraries wrap into each other, which is the one a person understands."""
    while inner := _inner(error):
        error = inner
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _inner(error: BaseException) -> BaseException | None:
    around: list[Any] = [getattr(error, "reason", None), error.__cause__, *error.args]
    return next((cause for cause in around if isinstance(cause, BaseException)), None)


def _unpack(archive: Path, source: str, wanted: _Wanted) -> None:
    """Take the wanted member out of a zip archive that came from `source`, and nothing else."""
    try:
        with zipfile.ZipFile(archive) as opened, written_aside(wanted.target) as aside:
            with opened.open(_only_member(opened, source, wanted)) as inside, aside.open("wb") as outside:
                shutil.copyfileobj(inside, outside)
            wanted.check(aside, source)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError) as error:  # RuntimeError: has a password
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # that is a jump to before the file
            raise
        raise _WrongFile(f"{source} is not a zip archive that can be unpacked ({error})") from error


def _only_member(opened: zipfile.ZipFile, source: str, wanted: _Wanted) -> zipfile.ZipInfo:
    """The member in whatever folder of the archive. Its path is never written to, but a hostile one is refused."""
    found = [i for i in opened.infolist() if not i.is_dir() and PurePosixPath(i.filename).name == wanted.member]
    if len(found) != 1:
        raise _WrongFile(f"{source} holds {len(found) or 'no'} files named {wanted.member}; one was expected")
    path = PurePosixPath(found[0].filename)
    if path.is_absolute() or ".." in path.parts:
        raise _WrongFile(f"{source} holds a file with the unsafe name {found[0].filename}")
    return found[0]

"""Names for types that several modules use."""

from typing import Any, AsyncIterable, Callable, Dict, Iterable, List, Mapping, Tuple, Union

Buffer = Union[bytes, bytearray, memoryview]
Body = Union[Buffer, str, Dict[str, Any], List[Any], None]
Part = Union[Buffer, str]
Content = Union[Iterable[Part], AsyncIterable[Part]]
HeaderText = Union[str, bytes]
Headers = Union[Mapping[str, str], Mapping[str, bytes], Iterable[Tuple[HeaderText, HeaderText]]]
Trailers = Union[Headers, Callable[[], Headers]]

"""Types in signatures that several packages share."""

from collections.abc import Mapping
from typing import Any, TypeAlias

#: An array, a tensor of the backend in use, or a symbolic one of Keras: they
#: share no class, and TensorFlow and Keras come without stubs.
Tensor: TypeAlias = Any

#: Of a batch; None for a size that is not fixed.
Shape: TypeAlias = tuple[int | None, ...]

#: What Keras hands to callbacks: numbers by name.
Logs: TypeAlias = dict[str, Any] | None

#: Images as `tf.data` has them, alone or in a dict under `"images"`.
Images: TypeAlias = Tensor | Mapping[str, Tensor]

"""Search of collections by the first coordinates, then by more of them.

The index needs NumPy and pyarrow alone; what takes images needs TensorFlow.
"""

from typing import TYPE_CHECKING

from minc_tf._lazy import lazy_names

if TYPE_CHECKING:
    from minc_tf.search.funnel import Found as Found
    from minc_tf.search.funnel import FunnelIndex as FunnelIndex
    from minc_tf.search.images import search_images as search_images
    from minc_tf.search.sheet import contact_sheet as contact_sheet

_LAZY = {
    "Found": "funnel",
    "FunnelIndex": "funnel",
    "contact_sheet": "sheet",
    "search_images": "images",
}

__all__ = [*_LAZY]

__getattr__ = lazy_names(__name__, _LAZY)


def __dir__():
    return sorted(__all__)

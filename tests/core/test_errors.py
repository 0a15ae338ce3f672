"""What errors tell of the machine."""

import pytest

from pgb_core.errors import out_of_memory


@pytest.mark.parametrize(
    ("error", "scarce"),
    [
        (MemoryError(), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
            True,
        ),
        (RuntimeError("BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer of size 8"), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (RuntimeError("unsupported memory format option"), False),
        (RuntimeError("indices element out of data bounds"), False),
    ],
)
def test_only_memory_that_ran_out_is_told_so(error: Exception, scarce: bool) -> None:
    """Other errors may speak of memory, too."""
    assert out_of_memory(error) is scarce

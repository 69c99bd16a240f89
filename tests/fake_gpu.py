"""A GPU that is not there: tensors that say they are on it, and whose numbers are on the CPU.

``FakeTensorMode`` of torch has the same rules about devices, and no numbers: whatever depends on
them (``nonzero``, ``item``, a copy to the CPU) ends there. Here an operation is checked by the
rules, then computed on the CPU: whole paths run to their end, and their results can be compared
with those of the CPU. What a GPU refuses raises :class:`DeviceError`:

- tensors of several devices in one operation; single numbers of the CPU are allowed, and indices;
- ``numpy`` of a tensor that was not copied to the CPU, and copies there that nobody waits for;
- a generator of another device than the numbers that it draws;
- float64 on MPS.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing

CPU = torch.device("cpu")
aten = torch.ops.aten
_INDEXING = {
    aten.index.Tensor,
    aten.index_put.default,
    aten.index_put_.default,
    aten._index_put_impl_.default,
    aten._unsafe_index.Tensor,
}
_COPIES = {aten.copy_.default, aten._to_copy.default}
_WAITS = {aten._local_scalar_dense.default, aten.nonzero.default}
_PINS = {aten.pin_memory.default, aten._pin_memory.default}
_Generator, _autocast = torch.Generator, torch.autocast.__init__


class DeviceError(AssertionError):
    """Something that a GPU refuses. No RuntimeError, which programs may catch."""


class Gpu:
    """What the code under test believes to have.

    Attributes
    ----------
    kind : {"cuda", "mps"}
    native : bool
        Whether torch itself believes it: then autocast casts what it casts on this device, but
        torch has no backward pass without a driver. Else autocast is that of the CPU.
    waits : int
        How often the CPU has waited for the device.
    pinned : set of int
        Addresses of tensors in page-locked memory.
    pageable : list of tuple of int
        Shapes of tensors that were copied to the device without waiting, but not from there: no
        GPU copies them while it computes.
    """

    def __init__(self, kind: str, *, native: bool) -> None:
        self.kind, self.native, self.waits, self.leaving = kind, native, 0, False
        self.pinned: set[int] = set()
        self.pageable: list[tuple[int, ...]] = []


_gpu = Gpu("cuda", native=True)


class OnGpu(torch.Tensor):
    """A tensor that says it is on a GPU."""

    numbers: torch.Tensor
    place: torch.device

    @staticmethod
    def __new__(cls, numbers: torch.Tensor, place: torch.device) -> OnGpu:
        if place.type == "mps" and numbers.dtype == torch.float64:
            raise DeviceError("MPS has no float64")
        with torch._C._InferenceMode(False):  # views of weights cannot be made in it
            found: OnGpu = torch.Tensor._make_wrapper_subclass(
                cls,
                numbers.shape,
                strides=numbers.stride(),
                storage_offset=numbers.storage_offset(),
                dtype=numbers.dtype,
                device=place if _gpu.native else CPU,
            )
        found.numbers, found.place = numbers, place
        return found

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _compute(func, args, kwargs or {})

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return self.place

    def to(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        return _moved(self, *args, **kwargs)

    def cpu(self, **kwargs: Any) -> torch.Tensor:  # type: ignore[override]
        return _moved(self, CPU, **kwargs)

    def numpy(self, **_: Any) -> Any:
        raise DeviceError(f"numpy of a tensor on {self.place}: copy it to the CPU first")

    __array__ = numpy  # type: ignore[assignment]

    def tolist(self) -> Any:
        _gpu.waits += 1
        return self.numbers.tolist()

    def new_tensor(self, data: Any, **kwargs: Any) -> torch.Tensor:  # type: ignore[override]
        return torch.tensor(data, **{"dtype": self.dtype, "device": self.place, **kwargs})

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.numbers.detach().__reduce_ex__(protocol)  # type: ignore[no-untyped-call]

    def __deepcopy__(self, memo: dict[int, Any]) -> torch.Tensor:
        if id(self) not in memo:
            twin = self.detach().clone().requires_grad_(self.requires_grad)
            if isinstance(self, torch.nn.Parameter):
                twin._is_param = True
            memo[id(self)] = twin
        found: torch.Tensor = memo[id(self)]
        return found


class _FakeGenerator(_Generator):  # type: ignore[misc, valid-type]
    """A generator that says where it is."""

    def __new__(cls, device: Any = "cpu") -> _FakeGenerator:
        found: _FakeGenerator = super().__new__(cls, "cpu")
        found.place = _device(device)
        return found

    @property
    def device(self) -> torch.device:
        found: torch.device = self.place
        return found


def _device(name: Any) -> torch.device:
    """Give a GPU its number: cuda is cuda:0."""
    device = torch.device(name)
    return torch.device(device.type, 0) if device != CPU and device.index is None else device


def _place(tensor: torch.Tensor) -> torch.device:
    return tensor.place if isinstance(tensor, OnGpu) else CPU


def _numbers(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.numbers if isinstance(tensor, OnGpu) else tensor


def _mapped(function: Callable[[torch.Tensor], Any], value: Any) -> Any:
    """Call a function with all tensors in lists."""
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, tuple | list):
        return type(value)(_mapped(function, inner) for inner in value)
    return value


def _common_place(func: Any, args: Any, kwargs: Any) -> torch.device:
    """Return the device of all tensors, as ``FakeTensor._find_common_device`` does."""
    if func in _COPIES:
        return _place(args[0])
    if func in _INDEXING:  # their indices may be on the CPU
        away = [i for i in args[1] if i is not None and _place(i) != CPU]
        tensors = [args[0], *away, *(x for x in args[2:3] if isinstance(x, torch.Tensor))]
    else:
        tensors = _tensors((*args, *kwargs.values()))
    large = [(t, p) for t in tensors if (p := _place(t)) is not CPU or t.dim()]
    places = {p for _, p in large}
    if len(places) > 1:
        shapes = ", ".join(f"{tuple(t.shape)} on {p}" for t, p in large)
        raise DeviceError(f"{func} of tensors on several devices: {shapes}")
    return places.pop() if places else CPU


def _tensors(values: Any) -> list[torch.Tensor]:
    """Return the tensors in nested lists."""
    found: list[torch.Tensor] = []
    for value in values:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, tuple | list):
            found += _tensors(value)
    return found


def _compute(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Check an operation, compute it on the CPU, and say where its results are."""
    if func in _PINS:
        copy = args[0].clone()
        _gpu.pinned.add(copy.data_ptr())
        return copy
    if torch.is_inference_mode_enabled() and _is_composite(func):  # else autograd takes it apart
        with _Operations():  # type: ignore[no-untyped-call]
            return func.decompose(*args, **kwargs)
    place = target = _common_place(func, args, kwargs)
    asked = kwargs.get("device")
    if asked is not None and (_gpu.native or _gpu.leaving or place == CPU or _device(asked) != CPU):
        target = _device(asked)
    if place != target:
        _watch_copy(args[0], target, kwargs.get("non_blocking", False))
    _gpu.waits += place != CPU and func in _WAITS
    if place == target == CPU:
        return func(*args, **kwargs)

    inner = {name: _mapped(_numbers, value) for name, value in kwargs.items()}
    if asked is not None:
        inner["device"] = CPU
    inner.pop("pin_memory", None)
    args_inner = _mapped(_numbers, args)
    if func is aten._softmax.default and args[2]:  # to float32 on the way, which CPUs cannot
        args_inner = (args_inner[0].float(), args[1], False)
    found = func(*args_inner, **inner)
    if target == CPU:
        return found
    wrapped = _mapped(lambda x: OnGpu(x, target), found)
    if not _has_aliases(func):
        return wrapped
    return return_and_correct_aliasing(func, args, kwargs, wrapped)  # type: ignore[no-untyped-call]


@functools.cache
def _has_aliases(func: Any) -> bool:
    """Tell whether a result shares memory with an argument."""
    return any(value.alias_info is not None for value in func._schema.returns)


@functools.cache
def _is_composite(func: Any) -> bool:
    key = torch._C.DispatchKey.CompositeImplicitAutograd
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), key))


def _watch_copy(tensor: torch.Tensor, target: torch.device, non_blocking: bool) -> None:
    """Count a copy between devices, or refuse it."""
    if target == CPU:
        if non_blocking:
            raise DeviceError("a copy to the CPU that nobody waits for")
        _gpu.waits += 1
    elif non_blocking and _place(tensor) == CPU and tensor.data_ptr() not in _gpu.pinned:
        _gpu.pageable.append(tuple(tensor.shape))


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees what makes tensors on a device out of nothing, or of tensors of the CPU."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and to say so takes time at every operation

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(func, args, kwargs or {})


class _Calls(TorchFunctionMode):
    """Sees what does not get as far as the tensors, or not as it was asked for."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.Tensor.to:
            return _moved(*args, **kwargs)
        if func is torch.Tensor.backward:  # itself a Python function that calls others
            with self:
                return torch.autograd.backward(args[0])
        found = func(*args, **kwargs)
        generator = kwargs.get("generator")
        if generator is not None and isinstance(found, torch.Tensor):
            place = _place(found)
            if generator.device.type != place.type:
                raise DeviceError(f"numbers on {place} of a generator on {generator.device}")
        return found


def _moved(tensor: torch.Tensor, *args: Any, copy: bool = False, **kwargs: Any) -> torch.Tensor:
    """Do what ``Tensor.to`` does."""
    if args and isinstance(args[0], torch.Tensor):
        args = (_place(args[0]), args[0].dtype, *args[1:])
    device, dtype, non_blocking, form = torch._C._nn._parse_to(*args, **kwargs)
    device = _place(tensor) if device is None else _device(device)
    dtype = dtype or tensor.dtype
    same = (device, dtype) == (_place(tensor), tensor.dtype)
    if same and not copy and (form is None or tensor.is_contiguous(memory_format=form)):
        return tensor
    more = {} if form is None else {"memory_format": form}
    _gpu.leaving = device == CPU
    try:
        found: torch.Tensor = aten._to_copy.default(
            tensor, dtype=dtype, device=device, non_blocking=non_blocking, **more
        )
    finally:
        _gpu.leaving = False
    return found


@contextlib.contextmanager
def fake_gpu(kind: str = "cuda", *, native: bool = True, count: int = 2) -> Iterator[Gpu]:
    """Pretend that this machine has `count` GPUs; this thread only."""
    global _gpu
    native = native and kind == "cuda"  # torch for Linux knows nothing of MPS

    def autocast(self: Any, device_type: str, *args: Any, **kwargs: Any) -> None:
        _autocast(self, device_type if native else "cpu", *args, **kwargs)

    answers: dict[str, Any] = {
        "torch.Generator": _FakeGenerator,
        "torch.autocast.__init__": autocast,
        f"torch.{kind}.is_available": lambda: True,
        f"torch.{kind}.synchronize": lambda device=None: None,
    }
    if kind == "cuda":
        answers |= {
            "torch.cuda._lazy_init": lambda: None,
            "torch.cuda.device_count": lambda: count,
            "torch.cuda.set_device": lambda device: None,
            "torch.cuda.is_bf16_supported": lambda including_emulation=True: True,
            "torch.cuda.is_current_stream_capturing": lambda: False,
        }
    else:
        answers["torch.backends.mps.is_available"] = lambda: True
    before, torch_state = _gpu, torch._C._only_lift_cpu_tensors()
    swapping = torch.__future__.get_swap_module_params_on_conversion()
    with contextlib.ExitStack() as stack:
        for name, answer in answers.items():
            stack.enter_context(mock.patch(name, answer))
        stack.enter_context(torch.backends.cudnn.flags(enabled=False))  # it is not there
        _gpu = Gpu(kind, native=native)
        torch._C._ensureCUDADeviceGuardSet()
        torch._C._set_only_lift_cpu_tensors(True)
        # So that weights that move stay the same objects, as they do on a GPU.
        torch.__future__.set_swap_module_params_on_conversion(True)
        try:
            stack.enter_context(_Calls())
            stack.enter_context(_Operations())  # type: ignore[no-untyped-call]
            yield _gpu
        finally:
            torch.__future__.set_swap_module_params_on_conversion(swapping)
            torch._C._set_only_lift_cpu_tensors(torch_state)
            _gpu = before

"""The short path of every call, compiled: what an array is, memory for results, problems and kernels by one dictionary hit, the tape.

Small networks live on what a call costs before its kernel starts. Everything that a call does when nothing is new stands here; whatever
decides, refuses or converts stands in the modules above (memory, problems, registry, layout, tensor, functional), which hand their slow path
down where one is needed:

    formats    is_channels_last, is_dense, channels_last, like, operand (layout)
    memory     empty, empty_like, empty_channels_last, Blocks, Block    (memory)
    problems   Memo, Geometry: what stands for arguments                (problems, functional)
    kernels    Kernel, select, scratch                                  (registry chooses)
    tape       Operation, Node, Recorded (the base of Tensor), apply, replace    (tensor)
    unary      Unary: elementwise functions through all of the above    (functional.activation)
    updates    the arrays of an optimizer's step                         (optim)
"""
cimport cython
cimport numpy as cnp
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from libc.stdint cimport int64_t
from libc.string cimport memcmp, memcpy

import threading
from contextvars import ContextVar

import numpy as np

from lamella.kernels._common.pool cimport num_threads
from lamella.kernels._common.program cimport Program

cnp.import_array()

cdef extern from "Python.h":
    PyObject *PyDict_GetItemWithError(object, object) except? NULL
    int PyContextVar_Get(object, PyObject *, PyObject **) except -1
    tuple PyTuple_New(Py_ssize_t)
    void PyTuple_SET_ITEM(tuple, Py_ssize_t, object)
    object PyObject_Call(object, tuple, PyObject *)
    object PyObject_Vectorcall(object, PyObject **, size_t, PyObject *)
    void Py_XDECREF(PyObject *)
    Py_ssize_t Py_REFCNT(object)
    const char *PyUnicode_AsUTF8AndSize(object, Py_ssize_t *) except NULL

cdef extern from *:
    int clz "__builtin_clzll"(unsigned long long) nogil

cdef extern from "numpy/arrayobject.h":
    object PyArray_NewFromDescr(void *, cnp.dtype, int, cnp.npy_intp *, cnp.npy_intp *, void *, int, PyObject *)
    int PyArray_SetBaseObject(cnp.ndarray, object) except -1
    bint PyArray_ISALIGNED(cnp.ndarray)
    bint PyArray_ISNOTSWAPPED(cnp.ndarray)
    bint PyArray_IS_C_CONTIGUOUS(cnp.ndarray)
    bint PyArray_IS_F_CONTIGUOUS(cnp.ndarray)

cdef type ndarray = np.ndarray
cdef object F32 = np.dtype(np.float32)
cdef object F64 = np.dtype(np.float64)

cdef enum:
    AXES = 64       # NumPy has no more
    WORDS = 128


# Formats


cdef inline bint is_float(cnp.ndarray x) noexcept:
    """Whether the elements are float32 or float64 of this machine's byte order."""
    cdef int kind = cnp.PyArray_TYPE(x)
    return (kind == cnp.NPY_FLOAT32 or kind == cnp.NPY_FLOAT64) and PyArray_ISNOTSWAPPED(x)


cdef bint runs(cnp.ndarray x, bint last) noexcept:
    """Whether the memory of x runs in the order of its axes, or (last) with axis 1 behind all others, without gaps."""
    cdef int n = cnp.PyArray_NDIM(x)
    cdef cnp.npy_intp *shape = cnp.PyArray_DIMS(x)
    cdef cnp.npy_intp *strides = cnp.PyArray_STRIDES(x)
    cdef cnp.npy_intp step = cnp.PyArray_ITEMSIZE(x)
    cdef int i, axis
    if not cnp.PyArray_SIZE(x):
        return True
    for i in range(n):
        if last and n > 1:
            axis = 1 if i == 0 else 0 if i == n - 1 else n - i
        else:
            axis = n - 1 - i
        if shape[axis] != 1:
            if strides[axis] != step:
                return False
            step *= shape[axis]
    return True


cpdef bint is_channels_last(cnp.ndarray x):
    """Whether the memory of x (N, C, *spatial) runs N, *spatial, C without gaps."""
    return runs(x, True)


cpdef bint is_dense(cnp.ndarray x):
    """Whether the elements fill one block of memory, in whatever order of axes."""
    cdef int n = cnp.PyArray_NDIM(x)
    cdef cnp.npy_intp *shape = cnp.PyArray_DIMS(x)
    cdef cnp.npy_intp *strides = cnp.PyArray_STRIDES(x)
    cdef cnp.npy_intp step = cnp.PyArray_ITEMSIZE(x)
    cdef int i, found
    if PyArray_IS_C_CONTIGUOUS(x) or PyArray_IS_F_CONTIGUOUS(x):
        return True
    while step < cnp.PyArray_NBYTES(x):         # the axis that continues the block, innermost first
        found = -1
        for i in range(n):
            if strides[i] == step and shape[i] != 1:
                found = i
        if found < 0:
            return False
        step *= shape[found]
    return True


cdef inline bint plain(cnp.ndarray x) noexcept:
    """Whether a kernel can take x as one block."""
    return is_float(x) and PyArray_ISALIGNED(x) and is_dense(x)


cdef object copy_last = None, copy_c = None, copy_like = None


def copies_by(to_channels_last, to_c_contiguous, to_like):
    """Who brings an array into another memory format."""
    global copy_last, copy_c, copy_like
    copy_last, copy_c, copy_like = to_channels_last, to_c_contiguous, to_like


cpdef channels_last(cnp.ndarray x):
    """x itself if its memory is channels-last, else a copy that is."""
    return x if runs(x, True) else copy_last(x)


cpdef c_contiguous(cnp.ndarray x):
    """x itself if it is C-contiguous, else a copy that is."""
    return x if PyArray_IS_C_CONTIGUOUS(x) else copy_c(x)


cpdef like(cnp.ndarray x, cnp.ndarray reference):
    """x itself if its strides are those of the dense `reference` of the same shape, else a copy in that memory order."""
    if PyArray_IS_C_CONTIGUOUS(reference):
        return c_contiguous(x)
    if not memcmp(cnp.PyArray_STRIDES(x), cnp.PyArray_STRIDES(reference), cnp.PyArray_NDIM(x) * sizeof(cnp.npy_intp)):
        return x
    return channels_last(x) if runs(reference, True) else copy_like(x, reference)


def operand(x, operation, name="input"):
    """A float32 or float64 array as kernels take them: native byte order and aligned; anything else is refused with the fix."""
    if type(x) is ndarray and is_float(<cnp.ndarray>x) and PyArray_ISALIGNED(<cnp.ndarray>x):
        return x
    x = np.asarray(x)
    if not is_float(<cnp.ndarray>x):
        dtype = x.dtype.newbyteorder("=")
        if dtype == F32 or dtype == F64:
            return x.astype(dtype)
        hint = "complex numbers have no place in these operations" if x.dtype.kind == "c" else f"convert it: {name}.astype('float32')"
        raise TypeError(f"{operation}: expected {name} of float32 or float64, got {x.dtype}; {hint}")
    return x if PyArray_ISALIGNED(<cnp.ndarray>x) else x.copy(order="K")


# Memory


cdef enum:
    BLOCK_BITS = 17     # a block has at least 2^BLOCK_BITS bytes; smaller arrays are NumPy's own
    BLOCK_SIZES = 8     # between a power of two and the next
    BLOCK_ALIGN = 128

LEAST = 1 << BLOCK_BITS     # bytes of an array that gets a block


@cython.final
cdef class Blocks:
    """The memory of large arrays that have died, to be handed out again: `limit` bytes at most, of which `idle` are there."""

    cdef public Py_ssize_t limit
    cdef readonly Py_ssize_t idle
    cdef list shelves       # by size

    def __init__(self, Py_ssize_t limit):
        self.limit = limit
        self.clear()

    def clear(self):
        """Return it to the system."""
        with cython.critical_section(self):
            self.shelves = [[] for _ in range(64 * BLOCK_SIZES)]
            self.idle = 0

    cdef Block take(self, size_t nbytes):
        """A block of at least nbytes, kept or new: up to a multiple of an eighth of the power of two below, so that sizes that differ little share it."""
        cdef Block block = Block.__new__(Block)
        cdef list shelf
        cdef int shift = 63 - clz(nbytes - 1) - 3       # BLOCK_SIZES = 2^3
        cdef cnp.npy_intp parts = ((nbytes - 1) >> shift) + 1
        cdef cnp.npy_intp size = (parts << shift) + BLOCK_ALIGN
        block.shelf = shift * BLOCK_SIZES + parts - BLOCK_SIZES - 1
        with cython.critical_section(self):
            shelf = self.shelves[block.shelf]
            if shelf:
                block.raw = shelf.pop()
                self.idle -= size
        if block.raw is None:
            block.raw = cnp.PyArray_EMPTY(1, &size, cnp.NPY_UINT8, 0)
        block.data = <void *>((<size_t>cnp.PyArray_DATA(block.raw) + BLOCK_ALIGN - 1) // BLOCK_ALIGN * BLOCK_ALIGN)
        return block

    cdef int give(self, Block block) except -1:
        """The last view of a block has died."""
        cdef Py_ssize_t size = cnp.PyArray_SIZE(block.raw)
        with cython.critical_section(self):
            if self.idle + size <= self.limit:
                (<list>self.shelves[block.shelf]).append(block.raw)
                self.idle += size


@cython.final
@cython.no_gc       # it refers to bytes alone
@cython.freelist(64)
cdef class Block:
    """The owner of an array's memory: NumPy keeps it as the array's base until the last view has died."""

    cdef cnp.ndarray raw
    cdef void *data
    cdef int shelf

    def __dealloc__(self):
        if self.raw is not None:
            _blocks.give(self)


cdef Blocks _blocks = Blocks(1 << 30)
blocks = _blocks


cdef object new(int ndim, cnp.npy_intp *shape, cnp.npy_intp *strides, cnp.dtype dtype):
    """An uninitialised array; strides as of a dense array, or NULL for C order."""
    cdef cnp.npy_intp nbytes = cnp.PyDataType_ELSIZE(dtype)
    cdef void *data = NULL
    cdef int i
    for i in range(ndim):
        nbytes *= shape[i]
    cdef Block block = None
    if 1 << BLOCK_BITS <= nbytes <= _blocks.limit:
        block = _blocks.take(nbytes)
        data = block.data
    Py_INCREF(dtype)        # PyArray_NewFromDescr steals it
    out = PyArray_NewFromDescr(<void *>ndarray, dtype, ndim, shape, strides, data, cnp.NPY_ARRAY_WRITEABLE if data else 0, NULL)
    if block is not None:
        Py_INCREF(block)    # and this too
        PyArray_SetBaseObject(<cnp.ndarray>out, block)
    return out


def empty(tuple shape, cnp.dtype dtype, strides=None):
    """Like numpy.empty; with the strides of a dense array, if given."""
    cdef cnp.npy_intp[AXES] dims, steps
    cdef int i, ndim = len(shape)
    for i in range(ndim):
        dims[i] = shape[i]
        if strides is not None:
            steps[i] = strides[i]
    return new(ndim, dims, NULL if strides is None else steps, dtype)


cpdef empty_like(cnp.ndarray x):
    """An array of the shape, dtype and memory order of a dense array."""
    cdef bint plain = PyArray_IS_C_CONTIGUOUS(x)
    return new(cnp.PyArray_NDIM(x), cnp.PyArray_DIMS(x), NULL if plain else cnp.PyArray_STRIDES(x), <cnp.dtype>cnp.PyArray_DESCR(x))


def empty_channels_last(tuple shape, dtype):
    """An uninitialised (N, C, *spatial) array in channels-last memory."""
    cdef cnp.npy_intp[AXES] dims, steps
    cdef cnp.dtype kind = dtype if cnp.PyArray_DescrCheck(dtype) else np.dtype(dtype)
    cdef cnp.npy_intp step = cnp.PyDataType_ELSIZE(kind)
    cdef int i, axis, ndim = len(shape)
    for i in range(ndim):
        dims[i] = shape[i]
    for i in range(ndim):
        axis = 1 if i == 0 else 0 if i == ndim - 1 else ndim - i
        steps[axis] = step
        step *= dims[axis]
    return new(ndim, dims, steps, kind)


def owns_its_memory(cnp.ndarray x):
    """Whether no other array was made of x's memory before it: true of results of `empty` and of NumPy's own, false of views."""
    cdef PyObject *base = cnp.PyArray_BASE(x)
    return not base or type(<object>base) is Block


# Problems


cdef class Memo:
    """make(*args), made once: the same object for equal arguments. Past `limit` objects all are forgotten."""

    cdef object make
    cdef dict known
    cdef Py_ssize_t limit

    def __init__(self, make, limit=4096):
        self.make, self.known, self.limit = make, {}, limit

    def __call__(self, *args):
        cdef PyObject *found = PyDict_GetItemWithError(self.known, args)
        if found:
            return <object>found
        made = self.make(*args)
        if len(self.known) >= self.limit:
            self.known.clear()
        return self.known.setdefault(args, made)


cdef class Geometry:
    """describe(arrays, attributes), asked once for arrays of equal dtypes and shapes and equal attributes: whatever it validated stays valid.

    Attributes are remembered where they are ints, bools, None, short strings or tuples of ints; with others (and with arrays of foreign byte
    order or alignment) `describe` is asked every time.
    """

    cdef object describe
    cdef dict known

    def __init__(self, describe):
        self.describe, self.known = describe, {}

    def __call__(self, *arguments):
        cdef int64_t[WORDS] words
        cdef int n = 0
        cdef PyObject *found
        for x in arguments:
            n = described(x, words, n)
            if n < 0:
                return self.describe(*arguments)
        key = PyBytes_FromStringAndSize(<char *>words, n * sizeof(int64_t))
        found = PyDict_GetItemWithError(self.known, key)
        if found:
            return <object>found
        made = self.describe(*arguments)
        if len(self.known) >= 4096:
            self.known.clear()
        return self.known.setdefault(key, made)


cdef int described(x, int64_t *words, int n) except -2:
    """Write what is to be remembered of an argument behind n words; their number, or -1 where it cannot be or there is no room."""
    cdef cnp.ndarray a
    cdef int i, count
    cdef const char *text
    cdef Py_ssize_t length
    if type(x) is ndarray:
        a = x
        count = cnp.PyArray_NDIM(a)
        if n + count + 1 > WORDS or not PyArray_ISNOTSWAPPED(a) or not PyArray_ISALIGNED(a):
            return -1
        words[n] = -1000 - 100 * cnp.PyArray_TYPE(a) - count
        for i in range(count):
            words[n + 1 + i] = cnp.PyArray_DIMS(a)[i]
        return n + count + 1
    if type(x) is tuple:
        count = len(<tuple>x)
        if n + 1 > WORDS:
            return -1
        words[n] = -200 - count
        n += 1
        for item in <tuple>x:
            n = described(item, words, n) if type(item) is int else -1
            if n < 0:
                return -1
        return n
    if n + 2 > WORDS:
        return -1
    if type(x) is str:
        text = PyUnicode_AsUTF8AndSize(x, &length)
        count = <int>(length // sizeof(int64_t)) + 1
        if length > 100 or n + count + 1 > WORDS:
            return -1
        words[n] = -10 - length
        words[n + count] = 0
        memcpy(words + n + 1, text, length)
        return n + count + 1
    if type(x) is int:
        if not -(1 << 60) < x < 1 << 60:
            return -1
        words[n], words[n + 1] = -1, x
    elif x is None or type(x) is bool:
        words[n], words[n + 1] = -2, -1 if x is None else x
    else:
        return -1
    return n + 2


# Kernels

setting = ContextVar("lamella_setting", default=None)
cdef object _setting = setting
cdef object default = None
cdef object generation = 0
cdef object choose = None       # choose(operation, pass_, p, *setting) -> Kernel

_local = threading.local()
ALIGN = 128
EMPTY = np.empty(0, np.uint8)
cdef object nothing = EMPTY


def scratch(Py_ssize_t nbytes):
    """An aligned uint8 array of at least `nbytes`, valid until this thread asks again: one per calling thread, grown to the maximum."""
    if not nbytes:
        return nothing
    buffer = getattr(_local, "scratch", None)
    if buffer is None or cnp.PyArray_SIZE(<cnp.ndarray>buffer) < nbytes:
        _local.scratch = None
        raw = np.empty(nbytes + ALIGN, np.uint8)
        start = -raw.ctypes.data % ALIGN
        buffer = _local.scratch = raw[start : start + nbytes]
    return buffer


cdef class Kernel:
    """A selected function and the scratch it needs: ``shared + threads * per_thread`` bytes.

    Where the function only hands its arrays to a program of the problem (nb.runs), that is called instead.
    """

    cdef readonly str name
    cdef readonly object function
    cdef readonly Py_ssize_t shared, per_thread
    cdef object setting, generation     # under which it was chosen
    cdef object program_of, problem     # and the problem of `program`
    cdef Program program

    def __init__(self, str name, function, Py_ssize_t shared, Py_ssize_t per_thread):
        self.name, self.function, self.shared, self.per_thread = name, function, shared, per_thread
        self.program_of = getattr(function, "program", None)

    def __call__(self, p, *arrays):
        cdef PyObject *argv[34]
        cdef Py_ssize_t i, n = len(arrays)
        if n > 32:
            raise TypeError(f"{self.name}: more arrays than any kernel takes")
        argv[0] = <PyObject *>p
        for i in range(n):
            argv[1 + i] = <PyObject *>arrays[i]
        self.run(argv, n + 1)

    cdef int run(self, PyObject **argv, Py_ssize_t n) except -1:
        """Call the function on n arguments and the scratch, which is put behind them."""
        memory = nothing
        if self.shared or self.per_thread:
            memory = scratch(self.shared + self.per_thread * num_threads())
        argv[n] = <PyObject *>memory
        if self.program_of is not None:
            if self.problem is not <object>argv[0]:
                program = self.program_of(<object>argv[0])
                self.program = program if isinstance(program, Program) else None    # an empty problem has none
                self.problem = <object>argv[0]
            if self.program is not None:
                return self.program.run(argv + 1, n)
        PyObject_Vectorcall(self.function, argv, n + 1, NULL)
        return 0


cdef object in_use():
    cdef PyObject *local = NULL
    PyContextVar_Get(_setting, NULL, &local)
    here = <object>local
    Py_XDECREF(local)
    return default if here is None else here


def setting_in_use():
    """The registry's Setting of this context, or the global one."""
    return in_use()


def default_setting(new=None):
    """The global Setting; changed first, if one is given."""
    global default
    if new is not None:
        default = new
    return default


def choose_by(function):
    """Who chooses where `select` meets a problem for the first time."""
    global choose
    choose = function


def forget_choices():
    """Choices made so far are made anew: the list of implementations has changed."""
    global generation
    generation += 1


cpdef Kernel select(operation, str pass_, p):
    """The kernel that computes a pass of a problem under the backend in use: one dictionary hit after the first call."""
    cdef dict choices = p.choices
    cdef PyObject *found = PyDict_GetItemWithError(choices, pass_)
    cdef Kernel kernel
    now = in_use()
    if found:
        kernel = <Kernel>found
        if kernel.setting is now and kernel.generation is generation:
            return kernel
    key = (pass_, now, generation)
    found = PyDict_GetItemWithError(choices, key)
    kernel = <Kernel>found if found else choose(operation, pass_, p, *now)
    kernel.setting, kernel.generation = now, generation
    choices[key] = choices[pass_] = kernel
    return kernel


# The tape

recording = ContextVar("lamella_recording", default=True)
cdef object _recording = recording
cdef object tensor_type = None
cdef object freed = object()
cdef object plus = None         # plus(g, dx): the sum of two gradients


cdef inline bint records():
    cdef PyObject *local = NULL
    PyContextVar_Get(_recording, NULL, &local)
    Py_XDECREF(local)       # True or False: immortal
    return <object>local is True


def tensors_are(cls):
    """The class of results."""
    global tensor_type
    tensor_type = cls


def sums_by(function):
    """Who adds two gradients of one array."""
    global plus
    plus = function


cdef class Operation:
    """A differentiable operation: its name and two functions.

        forward(*arrays, *attributes) -> (out, saved)
        backward(saved, g, needs)     -> one gradient (or None) per array
    """

    cdef readonly str name
    cdef readonly object forward, backward

    def __init__(self, str name, forward, backward):
        self.name, self.forward, self.backward = name, forward, backward


@cython.trashcan(True)
cdef class Recorded:
    """The fields of a Tensor."""

    cdef public object data, grad
    cdef public bint requires_grad
    cdef public Node _node
    cdef list version       # made when first needed: [how often it was changed in place], shared with what detach() returns

    @property
    def _version(self):
        return self.versions()

    @_version.setter
    def _version(self, list version):
        self.version = version

    cdef list versions(self):
        if self.version is None:
            self.version = [0]
        return self.version


@cython.trashcan(True)
cdef class Node:
    """One application of an operation on the tape."""

    cdef readonly Operation operation
    cdef readonly tuple parents     # the inputs that require a gradient, None for others: those are not kept alive by the tape
    cdef tuple above                # the nodes they came from, as they were: an operation in place gives a Tensor another
    cdef readonly tuple needs
    cdef public object saved
    cdef list versions              # of inputs and output that were saved: (version, what it was)
    cdef readonly object shape, dtype

    cdef int watch(self, Recorded x) except -1:
        """Remember the version of x, if what was saved holds its array."""
        saved = self.saved
        if type(saved) is tuple:
            for kept in <tuple>saved:
                if kept is x.data:
                    break
            else:
                return 0
        elif saved is not x.data:
            return 0
        version = x.versions()
        if self.versions is None:
            self.versions = []
        self.versions.append((version, version[0]))
        return 0

    cdef int check(self) except -1:
        if self.saved is freed:
            raise RuntimeError(
                f"backward: the graph of {self.operation.name} was freed by an earlier backward(); pass retain_graph=True to the first one"
            )
        if self.versions is not None:
            for version, then in self.versions:
                if version[0] != then:
                    raise RuntimeError(
                        f"backward: {self.operation.name} needs a value that was changed in place after it was computed; change a copy instead"
                    )
        return 0


cdef Node recorded(Operation operation, tuple inputs, saved, Recorded out):
    cdef Node node = Node.__new__(Node)
    cdef list parents = [], needs = [], above = []
    node.operation, node.saved = operation, saved
    node.shape, node.dtype = out.data.shape, out.data.dtype
    for x in inputs:
        needed = False
        if isinstance(x, Recorded):
            needed = (<Recorded>x).requires_grad
            node.watch(<Recorded>x)
        parents.append(x if needed else None)
        above.append((<Recorded>x)._node if needed else None)
        needs.append(needed)
    node.watch(out)
    node.parents, node.needs, node.above = tuple(parents), tuple(needs), tuple(above)
    return node


cdef inline Recorded made(data):
    cdef Recorded t = tensor_type.__new__(tensor_type)
    t.data = data
    return t


def tensor_of(cnp.ndarray data not None):
    """A Tensor of what an operation returned, without the questions that a user's data is asked."""
    return made(data)


def apply(Operation operation not None, tuple inputs not None, *attributes):
    """The one door: run an operation on arrays or Tensors, and record it where a gradient is wanted.

    Inputs are ndarrays, Tensors, numbers or None; any Tensor among them makes the result a Tensor. A forward function may return
    ``(out, *more)`` as its `out`: only the first is differentiable, the others come back as arrays.
    """
    cdef bint tensor = False, record = False
    cdef Recorded result
    cdef Py_ssize_t i, n = len(inputs), others = len(attributes)
    cdef tuple arguments = PyTuple_New(n + others)
    for i in range(n + others):
        x = inputs[i] if i < n else attributes[i - n]
        if i < n and isinstance(x, Recorded):
            tensor = True
            record = record or (<Recorded>x).requires_grad
            x = (<Recorded>x).data
        Py_INCREF(x)
        PyTuple_SET_ITEM(arguments, i, x)
    out, saved = PyObject_Call(operation.forward, arguments, NULL)
    if not tensor:
        return out
    more = ()
    if type(out) is tuple:
        more = (<tuple>out)[1:]
        out = (<tuple>out)[0]
    result = made(out if type(out) is ndarray else np.asarray(out))
    if record and is_float(<cnp.ndarray>result.data) and records():
        result._node = recorded(operation, inputs, saved, result)
        result.requires_grad = True
    return (result, *more) if more else result


def replace(Operation operation not None, x, *attributes):
    """Run an operation on x alone, which becomes its result: an array, or a Tensor, which is recorded where a gradient is wanted.

    ``operation.forward(array, keep, *attributes)`` writes its result into the array, unless a caller other than x may still want what is there.
    """
    cdef Recorded t, before
    cdef cnp.ndarray data
    cdef bint record
    if not isinstance(x, Recorded):
        return operation.forward(x, False, False, *attributes)[0]
    t = x
    record = t.requires_grad and records()
    if not record:
        operation.forward(t.data, False, False, *attributes)
        t.versions()[0] += 1
        return x
    if t._node is None:
        raise RuntimeError(
            f"{operation.name}: a leaf that requires a gradient cannot be changed in place; use the form that returns a new Tensor, or lamella.no_grad()"
        )
    data = t.data
    shared = Py_REFCNT(data) > 2 or not owns_its_memory(data)    # beside t's and this function's own reference
    before = made(data)
    before.version = t.versions()
    before._node, before.requires_grad = t._node, True
    out, saved = operation.forward(data, True, shared, *attributes)
    t.data = out
    t.version = None if shared else t.version
    t.versions()[0] += 1
    t._node = recorded(operation, (before,), saved, t)
    return x


cdef list order(Node root):
    """Nodes from which `root` was computed, each after all nodes that use it."""
    cdef set seen = set()
    cdef list done = [], stack = [root]
    cdef Node node, above
    while stack:
        node = stack.pop()
        if node is None:            # the one below it has been expanded
            done.append(stack.pop())
        elif node not in seen:
            seen.add(node)
            stack.append(node)
            stack.append(None)
            for above in node.above:
                if above is not None and above not in seen:
                    stack.append(above)
    done.reverse()
    return done


cdef int accumulate(Recorded leaf, g, bint fresh) except -1:
    dtype = leaf.data.dtype
    if leaf.grad is None:
        leaf.grad = made(g if fresh and g.dtype == dtype and owns_its_memory(g) else np.array(g, dtype=dtype))
    else:
        total = (<Recorded>leaf.grad).data
        np.add(total, g, out=total)
    return 0


def backward(Recorded root, g, bint retain_graph):
    """Walk the tape from `root`, whose gradient is g, and add to the `grad` of every leaf."""
    cdef dict gradients = {}
    cdef Node node, above
    cdef Recorded leaf
    cdef Py_ssize_t i
    if root._node is None:
        accumulate(root, g, False)
        return
    gradients[root._node] = g
    for node in order(root._node):
        g = gradients.pop(node)
        if g.dtype != node.dtype:
            g = g.astype(node.dtype)  # it was the single element that gave way to another dtype
        node.check()
        found = node.operation.backward(node.saved, g, node.needs)
        for i in range(len(node.parents)):
            leaf, dx = node.parents[i], found[i]
            if leaf is None or dx is None:
                continue
            above = node.above[i]
            if above is None:
                accumulate(leaf, dx, dx is not g)
            elif above in gradients:
                gradients[above] = plus(gradients[above], dx)  # never in place: an operation may hand the same array to two parents
            else:
                gradients[above] = dx
        if not retain_graph:
            node.saved = freed


# Elementwise functions


cdef class Unary:
    """The two functions of an Operation on one array of any dense memory order, which its output keeps.

    problem(n, dtype, a, b, c) gives the problem, convert(x) a dense float array of what is none.
    """

    cdef str operation
    cdef bint saves_input
    cdef object problem, convert
    cdef dict known

    def __init__(self, str operation, bint saves_input, problem, convert):
        self.operation, self.saves_input, self.problem, self.convert = operation, saves_input, problem, convert
        self.known = {}

    def forward(self, x, double a=0.0, double b=0.0, double c=0.0):
        if not (type(x) is ndarray and plain(<cnp.ndarray>x)):
            x = self.convert(x)
        out = empty_like(<cnp.ndarray>x)
        p = self.run(<cnp.ndarray>x, <cnp.ndarray>out, a, b, c)
        return out, (p, x if self.saves_input else out)

    def replace(self, x, bint keep, bint shared, double a=0.0, double b=0.0, double c=0.0):
        """As `forward`, with the result in the memory of x, unless that is shared; what the derivative needs is copied where it is to be kept."""
        if not isinstance(x, ndarray):
            raise TypeError(f"{self.operation}: only an array or a Tensor can be changed in place, got {type(x).__name__}")
        if shared:
            return self.forward(x, a, b, c)
        if type(x) is ndarray and plain(<cnp.ndarray>x) and cnp.PyArray_ISWRITEABLE(<cnp.ndarray>x):
            kept = x.copy(order="K") if keep and self.saves_input else x
            return x, (self.run(<cnp.ndarray>x, <cnp.ndarray>x, a, b, c), kept)
        out, saved = self.forward(x, a, b, c)
        x[...] = out
        return x, saved

    cdef object run(self, cnp.ndarray x, cnp.ndarray out, double a, double b, double c):
        """The problem, computed."""
        cdef PyObject *argv[4]
        p = self.problem_of(cnp.PyArray_SIZE(x), <cnp.dtype>cnp.PyArray_DESCR(x), a, b, c)
        argv[0], argv[1], argv[2] = <PyObject *>p, <PyObject *>x, <PyObject *>out
        select(self.operation, "forward", p).run(argv, 3)
        return p

    cdef object problem_of(self, Py_ssize_t n, cnp.dtype dtype, double a, double b, double c):
        key = (n, dtype, a, b, c) if a != 0 or b != 0 or c != 0 else 2 * n + (cnp.PyDataType_ELSIZE(dtype) == 8)
        cdef PyObject *found = PyDict_GetItemWithError(self.known, key)
        if found:
            return <object>found
        if len(self.known) >= 4096:
            self.known.clear()
        p = self.known[key] = self.problem(n, dtype, a, b, c)
        return p

    def backward(self, tuple saved, g, needs):
        cdef PyObject *argv[5]
        p, kept = saved
        dx = empty_like(kept)
        g = like(g, kept)
        argv[0], argv[1], argv[2], argv[3] = <PyObject *>p, <PyObject *>g, <PyObject *>kept, <PyObject *>dx
        select(self.operation, "backward", p).run(argv, 4)
        return (dx,)


# Optimizers


cdef class Update:
    """Parameters of one dtype that have made equally many steps: what one kernel call changes."""

    cdef readonly object dtype
    cdef readonly int step
    cdef readonly list grads, params
    cdef readonly list states       # a list per name, None where the name is None
    cdef readonly list copies       # (array of a parameter, its dense copy in `params`)
    cdef list counts

    @property
    def sizes(self):
        return tuple(self.counts)


cdef inline bint same_shape(cnp.ndarray x, cnp.ndarray y) noexcept:
    return (
        cnp.PyArray_NDIM(x) == cnp.PyArray_NDIM(y)
        and not memcmp(cnp.PyArray_DIMS(x), cnp.PyArray_DIMS(y), cnp.PyArray_NDIM(x) * sizeof(cnp.npy_intp))
    )


cdef int step_of(dict values) except -1:
    """Count a step."""
    step = values.get("step")
    if type(step) is not ndarray or cnp.PyArray_TYPE(<cnp.ndarray>step) != cnp.NPY_FLOAT32 or not plain(<cnp.ndarray>step):
        step = values["step"] = np.array(0 if step is None else step, np.float32)
    cdef float *number = <float *>cnp.PyArray_DATA(<cnp.ndarray>step)
    number[0] += 1
    return <int>number[0]


cdef tuple arrays_of(Recorded p, dict values, tuple names):
    """A parameter's block of memory, its gradient and its state, of one memory order; `values` gets what it lacks."""
    cdef cnp.ndarray data = p.data, g = (<Recorded>p.grad).data, array
    cdef list arrays = []
    if not plain(data):
        data = np.array(data, data.dtype.newbyteorder("="))
    if not plain(g):
        g = np.array(g, data.dtype)
    for name in names:
        if name is None:
            arrays.append(None)
            continue
        found = values.get(name)
        if found is None:
            found = np.zeros_like(data)
        array = found
        if not same_shape(array, data):
            raise RuntimeError(
                f"{name} has shape {found.shape}, its parameter {(<object>data).shape}; after replacing a parameter's data make a new optimizer"
            )
        if array.dtype != data.dtype or not plain(array):
            array = np.array(array, data.dtype)
        values[name] = array = like(array, data)
        arrays.append(array)
    return data, like(g, data), arrays


def updates(list params, state, tuple names, bint counts, refuse):
    """The parameters that have a gradient, with gradient and state, as Updates: nothing is kept from one step to the next.

    State that is missing is made of zeros. `step` is counted where `counts` is set; otherwise it is 1 for parameters whose state was made
    now, 2 for others. refuse(i) raises what is wrong with parameter i; then none has changed.
    """
    cdef list found = [], ready = []
    cdef Update update = None
    cdef Recorded p
    cdef cnp.ndarray data, g
    cdef Py_ssize_t i
    cdef bint keeps = counts or any([name is not None for name in names])
    cdef int step
    for i in range(len(params)):
        p = params[i]
        if p.grad is None:
            continue
        data, g = p.data, (<Recorded>p.grad).data
        if not same_shape(data, g) or data.dtype != g.dtype or not cnp.PyArray_ISWRITEABLE(data):
            refuse(i)
        values = state[p] if keeps else None
        step = 2 if values else 1
        ready.append((p, values, step, *arrays_of(p, values, names)))
    for p, values, first, data, g, arrays in ready:
        step = step_of(values) if counts else first
        if update is None or update.step != step or update.dtype is not data.dtype:
            for update in found:
                if update.step == step and update.dtype == data.dtype:
                    break
            else:
                update = Update.__new__(Update)
                update.dtype, update.step = data.dtype, step
                update.grads, update.params, update.copies, update.counts = [], [], [], []
                update.states = [None if name is None else [] for name in names]
                found.append(update)
        update.grads.append(g)
        update.params.append(data)
        update.counts.append(cnp.PyArray_SIZE(data))
        for i in range(len(names)):
            if arrays[i] is not None:
                (<list>update.states[i]).append(arrays[i])
        if data is not p.data:
            update.copies.append((p.data, data))
        if p.version is not None:
            p.version[0] += 1
    return found

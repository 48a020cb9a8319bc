"""What coroutines do with their task: each behaviour is run in a turbo.Task and in an asyncio.Task, and must come out the same.

A behaviour returns something whose repr tells the outcome; an exception that it raises is an outcome too.
"""

import asyncio
import contextvars
import gc
import io
import sys
import weakref
from typing import Any, Awaitable, Callable, Dict, List

Behaviour = Callable[[], Awaitable[Any]]
BEHAVIOURS: Dict[str, Behaviour] = {}

since_311 = sys.version_info >= (3, 11)
variable: "contextvars.ContextVar[int]" = contextvars.ContextVar("variable", default=0)


def behaviour(function: Behaviour) -> Behaviour:
    BEHAVIOURS[function.__name__] = function
    return function


def me() -> Any:
    task = asyncio.current_task()
    assert task is not None
    return task


async def tick(times: int = 1) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


# -- results and the end --


@behaviour
async def returns_at_once() -> Any:
    return 1


@behaviour
async def returns_after_a_tick() -> Any:
    await tick()
    return 2


@behaviour
async def raises_at_once() -> Any:
    raise LookupError("at once")


@behaviour
async def raises_after_a_tick() -> Any:
    await tick()
    raise LookupError("later")


@behaviour
async def raises_stop_iteration() -> Any:
    await tick()
    raise StopIteration(3)


@behaviour
async def raises_from_a_cause() -> Any:
    try:
        raise KeyError("cause")
    except KeyError as error:
        raise ValueError("effect") from error


@behaviour
async def awaits_a_result() -> Any:
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_result, "value")
    return await future


@behaviour
async def awaits_an_exception() -> Any:
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_exception, OSError("future"))
    try:
        await future
    except OSError as error:
        return "caught", str(error)


@behaviour
async def awaits_a_finished_future() -> Any:
    future = asyncio.get_running_loop().create_future()
    future.set_result(5)
    return await future


@behaviour
async def awaits_many_times() -> Any:
    total = 0
    for i in range(50):
        total += await asyncio.sleep(0.0001 if i % 10 == 0 else 0, i)
    return total


@behaviour
async def awaits_a_child_task() -> Any:
    async def child() -> str:
        await tick(3)
        return "child"

    return await asyncio.ensure_future(child())


@behaviour
async def awaits_async_generators() -> Any:
    async def numbers() -> Any:
        for i in range(3):
            await tick()
            yield i

    return [i async for i in numbers()]


@behaviour
async def awaits_in_a_thread() -> Any:
    return await asyncio.get_running_loop().run_in_executor(None, sum, [1, 2, 3])


# -- what must not be awaited --


@behaviour
async def awaits_itself() -> Any:
    try:
        await me()
    except RuntimeError as error:
        return str(error).split(":")[0].split(" <")[0]


class Yields:
    """Yields something to the task."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __await__(self) -> Any:
        yield self.value


@behaviour
async def yields_a_number() -> Any:
    try:
        await Yields(7)
    except RuntimeError as error:
        return str(error)


@behaviour
async def yields_a_generator() -> Any:
    generator = (i for i in ())
    try:
        await Yields(generator)
    except RuntimeError as error:
        return str(error).split(" in task")[0]


@behaviour
async def yields_a_future_without_blocking() -> Any:
    try:
        await Yields(asyncio.get_running_loop().create_future())
    except RuntimeError as error:
        return str(error).split(" in task")[0]


@behaviour
async def awaits_a_future_of_another_loop() -> Any:
    other = asyncio.SelectorEventLoop()
    try:
        await other.create_future()
    except RuntimeError as error:
        return "attached to a different loop" in str(error)
    finally:
        other.close()


# -- current task and lists --


@behaviour
async def is_the_current_task_all_along() -> Any:
    first = me()
    await tick()
    second = me()
    await asyncio.sleep(0.001)
    return first is second is me()


@behaviour
async def is_in_all_tasks_after_suspending() -> Any:
    await tick()
    return me() in asyncio.all_tasks()


@behaviour
async def is_not_the_current_task_of_a_child() -> Any:
    parent = me()

    async def child() -> bool:
        return me() is not parent and parent in asyncio.all_tasks()

    await tick()
    return await asyncio.ensure_future(child())


@behaviour
async def is_not_the_current_task_of_callbacks() -> Any:
    seen: List[Any] = []
    asyncio.get_running_loop().call_soon(lambda: seen.append(asyncio.current_task()))
    await tick(2)
    return seen


# -- cancelling --


@behaviour
async def is_cancelled_while_it_waits() -> Any:
    asyncio.get_running_loop().call_soon(me().cancel)
    await asyncio.sleep(10)


@behaviour
async def is_cancelled_with_a_message() -> Any:
    asyncio.get_running_loop().call_soon(me().cancel, "why")
    try:
        await asyncio.sleep(10)
    except asyncio.CancelledError as error:
        return error.args


@behaviour
async def cancels_itself_before_waiting() -> Any:
    result = me().cancel()
    try:
        await asyncio.sleep(10)
    except asyncio.CancelledError:
        return result, me().cancelled(), me().done()


@behaviour
async def cancels_itself_after_waiting() -> Any:
    await tick()
    me().cancel()
    try:
        await tick()
    except asyncio.CancelledError:
        return "cancelled"


@behaviour
async def cancels_itself_and_returns() -> Any:
    await tick()
    me().cancel()
    return "never seen"


@behaviour
async def cancels_itself_and_fails() -> Any:
    await tick()
    me().cancel()
    raise LookupError("instead")


@behaviour
async def survives_being_cancelled() -> Any:
    asyncio.get_running_loop().call_soon(me().cancel)
    try:
        await asyncio.sleep(10)
    except asyncio.CancelledError:
        await tick()
        return "survived", me().cancelled()


@behaviour
async def is_cancelled_twice() -> Any:
    loop, count = asyncio.get_running_loop(), 0
    for _ in range(2):
        loop.call_soon(me().cancel)
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            count += 1
    return count


@behaviour
async def passes_cancelling_on_to_a_child() -> Any:
    seen: List[str] = []

    async def child() -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            seen.append("child")
            raise

    task = asyncio.ensure_future(child())
    await tick()
    asyncio.get_running_loop().call_soon(me().cancel)
    try:
        await task
    except asyncio.CancelledError:
        return seen, task.cancelled()


@behaviour
async def sees_a_child_cancelled() -> Any:
    child = asyncio.ensure_future(asyncio.sleep(10))
    asyncio.get_running_loop().call_soon(child.cancel)
    try:
        await child
    except asyncio.CancelledError:
        return child.cancelled(), me().cancelled()


@behaviour
async def raises_cancelled_error_itself() -> Any:
    await tick()
    raise asyncio.CancelledError("mine")


@behaviour
async def cancel_of_a_finished_waiter() -> Any:
    future = asyncio.get_running_loop().create_future()
    loop = asyncio.get_running_loop()
    loop.call_soon(future.set_result, 1)
    loop.call_soon(me().cancel)  # the wake-up is on its way already
    try:
        await future
    except asyncio.CancelledError:
        return "cancelled"


@behaviour
async def counts_cancelling() -> Any:
    task, seen = me(), []
    if not since_311:
        return None
    seen.append(task.cancelling())
    task.cancel()
    seen.append(task.cancelling())
    try:
        await tick()
    except asyncio.CancelledError:
        seen.append(task.uncancel())
    seen.append(task.uncancel())
    await tick()
    return seen


# -- what asyncio builds on tasks --


@behaviour
async def wait_for_in_time() -> Any:
    return await asyncio.wait_for(asyncio.sleep(0.001, "in time"), 5)


@behaviour
async def wait_for_too_late() -> Any:
    try:
        await asyncio.wait_for(asyncio.sleep(10), 0.01)
    except asyncio.TimeoutError:
        return "too late", me().cancelling() if since_311 else 0


@behaviour
async def wait_for_cancelled() -> Any:
    asyncio.get_running_loop().call_later(0.005, me().cancel)
    try:
        await asyncio.wait_for(asyncio.sleep(10), 10)
    except asyncio.CancelledError:
        return "cancelled"


@behaviour
async def gather_results() -> Any:
    return await asyncio.gather(asyncio.sleep(0.002, 1), asyncio.sleep(0.001, 2), asyncio.sleep(0, 3))


@behaviour
async def gather_exceptions() -> Any:
    async def fails() -> None:
        await tick()
        raise LookupError("gathered")

    kinds = await asyncio.gather(fails(), asyncio.sleep(0, 1), return_exceptions=True)
    try:
        await asyncio.gather(fails(), asyncio.sleep(0.001))
    except LookupError as error:
        return repr(kinds), str(error)


@behaviour
async def gather_cancelled() -> Any:
    asyncio.get_running_loop().call_later(0.005, me().cancel)
    try:
        await asyncio.gather(asyncio.sleep(10), asyncio.sleep(10))
    except asyncio.CancelledError:
        return "cancelled"


@behaviour
async def shield_from_cancelling() -> Any:
    inner = asyncio.ensure_future(asyncio.sleep(0.01, "inner"))
    asyncio.get_running_loop().call_soon(me().cancel)
    try:
        await asyncio.shield(inner)
    except asyncio.CancelledError:
        return await inner


@behaviour
async def wait_for_the_first() -> Any:
    quick, slow = asyncio.ensure_future(asyncio.sleep(0.001, 1)), asyncio.ensure_future(asyncio.sleep(10))
    done, pending = await asyncio.wait({quick, slow}, return_when=asyncio.FIRST_COMPLETED)
    slow.cancel()
    return done == {quick}, pending == {slow}


@behaviour
async def as_completed() -> Any:
    found = [await next_one for next_one in asyncio.as_completed([asyncio.sleep(0.02, 2), asyncio.sleep(0.001, 1)])]
    return found


@behaviour
async def queue_and_lock_and_event() -> Any:
    queue: "asyncio.Queue[int]" = asyncio.Queue()
    lock, event = asyncio.Lock(), asyncio.Event()

    async def child() -> None:
        await event.wait()
        async with lock:
            await queue.put(1)

    task = asyncio.ensure_future(child())
    async with lock:
        event.set()
        await tick(2)
        assert queue.empty()
    result = await queue.get()
    await task
    return result


if since_311:

    @behaviour
    async def timeout_block() -> Any:
        try:
            async with asyncio.timeout(0.01):  # type: ignore[attr-defined]
                await asyncio.sleep(10)
        except TimeoutError:
            return "timeout", me().cancelling(), me().cancelled()

    @behaviour
    async def timeout_block_in_time() -> Any:
        async with asyncio.timeout(5):  # type: ignore[attr-defined]
            await tick()
        return "in time", me().cancelling()

    @behaviour
    async def timeout_blocks_nested() -> Any:
        try:
            async with asyncio.timeout(0.01):  # type: ignore[attr-defined]
                async with asyncio.timeout(10):  # type: ignore[attr-defined]
                    await asyncio.sleep(10)
        except TimeoutError:
            await tick()
            return "outer", me().cancelling()

    @behaviour
    async def task_group() -> Any:
        async def child(i: int) -> int:
            await tick(i)
            return i

        async with asyncio.TaskGroup() as group:  # type: ignore[attr-defined]
            tasks = [group.create_task(child(i)) for i in range(5)]
        return [task.result() for task in tasks]

    @behaviour
    async def task_group_with_a_failure() -> Any:
        seen: List[str] = []

        async def fails() -> None:
            await tick()
            raise LookupError("child")

        async def waits() -> None:
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                seen.append("sibling")
                raise

        try:
            async with asyncio.TaskGroup() as group:  # type: ignore[attr-defined]
                group.create_task(fails())
                group.create_task(waits())
                await asyncio.sleep(10)
        except BaseException as error:
            return repr(getattr(error, "exceptions", error)), seen, me().cancelling()

    @behaviour
    async def task_group_cancelled_from_outside() -> Any:
        asyncio.get_running_loop().call_later(0.005, me().cancel)
        try:
            async with asyncio.TaskGroup() as group:  # type: ignore[attr-defined]
                group.create_task(asyncio.sleep(10))
        except asyncio.CancelledError:
            return "cancelled", me().cancelling()


# -- anyio, aiohttp --


@behaviour
async def anyio_cancel_scope() -> Any:
    import anyio

    with anyio.move_on_after(0.01) as scope:
        await anyio.sleep(10)
    return scope.cancelled_caught if hasattr(scope, "cancelled_caught") else scope.cancel_called


@behaviour
async def anyio_fail_after() -> Any:
    import anyio

    try:
        with anyio.fail_after(0.01):
            await anyio.sleep(10)
    except TimeoutError:
        return "timeout"


@behaviour
async def anyio_scope_cancelled_at_once() -> Any:
    import anyio

    with anyio.CancelScope() as scope:
        scope.cancel()
        await anyio.sleep(10)
    await tick()
    return "went on"


@behaviour
async def anyio_task_group() -> Any:
    import anyio

    found: List[int] = []

    turns = [anyio.Event() for _ in range(5)]

    async def child(i: int) -> None:
        await turns[i].wait()
        await anyio.sleep(0.001)
        found.append(i)
        turns[i + 1].set()

    turns[1].set()
    async with anyio.create_task_group() as group:
        for i in (3, 1, 2):
            group.start_soon(child, i)
    return found


@behaviour
async def anyio_thread() -> Any:
    import anyio.to_thread

    return await anyio.to_thread.run_sync(lambda: "thread")


@behaviour
async def anyio_shielded_scope() -> Any:
    import anyio

    with anyio.move_on_after(0.005):
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.02)
        await anyio.sleep(10)
    return "done"


# -- context --


@behaviour
async def context_is_kept_across_awaits() -> Any:
    variable.set(1)
    await tick()
    seen = variable.get()
    variable.set(2)
    await asyncio.sleep(0.001)
    return seen, variable.get()


@behaviour
async def context_is_copied_to_children_and_callbacks() -> Any:
    variable.set(5)
    seen: List[int] = []

    async def child() -> None:
        seen.append(variable.get())
        variable.set(6)

    await asyncio.ensure_future(child())
    asyncio.get_running_loop().call_soon(lambda: seen.append(variable.get()))
    await tick(2)
    return seen, variable.get()


@behaviour
async def context_token_is_reset_in_the_same_context() -> Any:
    token = variable.set(7)
    await tick()
    variable.reset(token)
    return variable.get()


@behaviour
async def context_of_done_callbacks() -> Any:
    seen: List[int] = []
    variable.set(8)

    async def child() -> None:
        await tick()

    task = asyncio.ensure_future(child())
    task.add_done_callback(lambda _: seen.append(variable.get()))
    task.add_done_callback(lambda _: seen.append(variable.get()), context=contextvars.Context())
    await task
    await tick()
    return seen


# -- the task as an object --


@behaviour
async def names() -> Any:
    task = me()
    task.set_name("mine")
    first = task.get_name()
    task.set_name(7)
    await tick()
    return first, task.get_name(), "7" in repr(task)


@behaviour
async def questions_while_pending() -> Any:
    await tick()
    task, found = me(), []
    for ask in (task.result, task.exception):
        try:
            ask()
        except asyncio.InvalidStateError as error:
            found.append(str(error))
    return found, task.done(), task.cancelled(), task._state, asyncio.isfuture(task)


@behaviour
async def refuses_to_be_set() -> Any:
    found = []
    for refused in (lambda: me().set_result(1), lambda: me().set_exception(ValueError())):
        try:
            refused()
        except RuntimeError as error:
            found.append(str(error))
    return found


@behaviour
async def knows_its_loop_and_coroutine() -> Any:
    task = me()
    await tick()
    return task.get_loop() is asyncio.get_running_loop(), asyncio.iscoroutine(task.get_coro())


@behaviour
async def knows_its_stack() -> Any:
    await tick()
    task = me()
    frames = [frame.f_code.co_name for frame in task.get_stack()]
    text = io.StringIO()
    task.print_stack(file=text)
    return frames[-1:], len(task.get_stack(limit=1)), "Stack for" in text.getvalue()


@behaviour
async def takes_attributes_and_weak_references() -> Any:
    task = me()
    task.mine = 1
    reference = weakref.ref(task)
    table = weakref.WeakKeyDictionary({task: 2})
    await tick()
    return reference() is me(), table[me()], me().mine, hash(task) == hash(me())


@behaviour
async def takes_callbacks_back() -> Any:
    def first(task: Any) -> None:
        raise AssertionError("was taken back")

    def second(task: Any) -> None:
        pass

    task = me()
    task.add_done_callback(first)
    task.add_done_callback(second)
    task.add_done_callback(first)
    return task.remove_done_callback(first), task.remove_done_callback(first), task.remove_done_callback(second)


@behaviour
async def is_a_generic_type() -> Any:
    return type(me())[int] is not None


@behaviour
async def is_collected_with_its_cycles() -> Any:
    class Marker:
        pass

    marker = Marker()
    reference = weakref.ref(marker)

    async def child(kept: Any) -> None:
        cycle = [me(), kept]
        cycle.append(cycle)
        await tick()

    task = asyncio.ensure_future(child(marker))
    del marker
    await task
    del task
    await tick()
    gc.collect()
    return reference() is None


@behaviour
async def keeps_working_when_collected_in_between() -> Any:
    gc.collect()
    await tick()
    gc.collect()
    await asyncio.sleep(0.001)
    return "alive"


# -- others look at the task --

KEPT: List[Any] = []


@behaviour
async def is_awaited_by_a_child() -> Any:
    parent = me()
    found: List[Any] = []

    async def child() -> None:
        try:
            found.append(await asyncio.wait_for(asyncio.shield(parent), 0.01))
        except asyncio.TimeoutError:
            found.append("parent still runs")

    task = asyncio.ensure_future(child())
    await task
    return found


@behaviour
async def is_gathered_by_a_child_and_cancelled_with_it() -> Any:
    parent = me()
    await tick()

    async def child() -> None:
        await asyncio.gather(parent)

    task = asyncio.ensure_future(child())
    await tick(2)
    task.cancel()
    try:
        await asyncio.sleep(10)
    except asyncio.CancelledError:
        return "cancelled through gather"


@behaviour
async def tells_its_done_callbacks() -> Any:
    told = asyncio.get_running_loop().create_future()
    me().add_done_callback(lambda task: told.cancel() if task.cancelled() else told.set_result(task.result()))
    KEPT.append(told)
    await tick()
    return "told"

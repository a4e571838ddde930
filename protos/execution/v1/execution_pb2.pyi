from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StopRule(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STOP_RULE_UNSPECIFIED: _ClassVar[StopRule]
    STOP_RULE_FIRST_FAILURE: _ClassVar[StopRule]
    STOP_RULE_RUN_ALL: _ClassVar[StopRule]

class CompareRule(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COMPARE_RULE_UNSPECIFIED: _ClassVar[CompareRule]
    COMPARE_RULE_EXACT: _ClassVar[CompareRule]
    COMPARE_RULE_LINES: _ClassVar[CompareRule]
    COMPARE_RULE_TOKENS: _ClassVar[CompareRule]

class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERDICT_UNSPECIFIED: _ClassVar[Verdict]
    VERDICT_PASSED: _ClassVar[Verdict]
    VERDICT_FINISHED: _ClassVar[Verdict]
    VERDICT_WRONG_ANSWER: _ClassVar[Verdict]
    VERDICT_COMPILE_ERROR: _ClassVar[Verdict]
    VERDICT_RUNTIME_ERROR: _ClassVar[Verdict]
    VERDICT_TIME_LIMIT: _ClassVar[Verdict]
    VERDICT_WALL_TIME_LIMIT: _ClassVar[Verdict]
    VERDICT_MEMORY_LIMIT: _ClassVar[Verdict]
    VERDICT_OUTPUT_LIMIT: _ClassVar[Verdict]
    VERDICT_PROCESS_LIMIT: _ClassVar[Verdict]
    VERDICT_OPEN_FILES_LIMIT: _ClassVar[Verdict]
    VERDICT_FILE_SIZE_LIMIT: _ClassVar[Verdict]
    VERDICT_CANCELLED: _ClassVar[Verdict]
    VERDICT_INFRASTRUCTURE_ERROR: _ClassVar[Verdict]
    VERDICT_NOT_RUN: _ClassVar[Verdict]

class CauseKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CAUSE_KIND_UNSPECIFIED: _ClassVar[CauseKind]
    CAUSE_KIND_NONE: _ClassVar[CauseKind]
    CAUSE_KIND_CANDIDATE: _ClassVar[CauseKind]
    CAUSE_KIND_LIMIT: _ClassVar[CauseKind]
    CAUSE_KIND_INFRASTRUCTURE: _ClassVar[CauseKind]

class Trust(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TRUST_UNSPECIFIED: _ClassVar[Trust]
    TRUST_NOT_TESTED: _ClassVar[Trust]
    TRUST_COMPARED_OUTSIDE: _ClassVar[Trust]
    TRUST_EXAMINED: _ClassVar[Trust]
    TRUST_EXAMINED_DELEGATED: _ClassVar[Trust]
STOP_RULE_UNSPECIFIED: StopRule
STOP_RULE_FIRST_FAILURE: StopRule
STOP_RULE_RUN_ALL: StopRule
COMPARE_RULE_UNSPECIFIED: CompareRule
COMPARE_RULE_EXACT: CompareRule
COMPARE_RULE_LINES: CompareRule
COMPARE_RULE_TOKENS: CompareRule
VERDICT_UNSPECIFIED: Verdict
VERDICT_PASSED: Verdict
VERDICT_FINISHED: Verdict
VERDICT_WRONG_ANSWER: Verdict
VERDICT_COMPILE_ERROR: Verdict
VERDICT_RUNTIME_ERROR: Verdict
VERDICT_TIME_LIMIT: Verdict
VERDICT_WALL_TIME_LIMIT: Verdict
VERDICT_MEMORY_LIMIT: Verdict
VERDICT_OUTPUT_LIMIT: Verdict
VERDICT_PROCESS_LIMIT: Verdict
VERDICT_OPEN_FILES_LIMIT: Verdict
VERDICT_FILE_SIZE_LIMIT: Verdict
VERDICT_CANCELLED: Verdict
VERDICT_INFRASTRUCTURE_ERROR: Verdict
VERDICT_NOT_RUN: Verdict
CAUSE_KIND_UNSPECIFIED: CauseKind
CAUSE_KIND_NONE: CauseKind
CAUSE_KIND_CANDIDATE: CauseKind
CAUSE_KIND_LIMIT: CauseKind
CAUSE_KIND_INFRASTRUCTURE: CauseKind
TRUST_UNSPECIFIED: Trust
TRUST_NOT_TESTED: Trust
TRUST_COMPARED_OUTSIDE: Trust
TRUST_EXAMINED: Trust
TRUST_EXAMINED_DELEGATED: Trust

class ExecuteStreamRequest(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[ExecuteRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[ExecuteRequest, _Mapping]]] = ...) -> None: ...

class ExecuteStreamResponse(_message.Message):
    __slots__ = ("responses",)
    RESPONSES_FIELD_NUMBER: _ClassVar[int]
    responses: _containers.RepeatedCompositeFieldContainer[ExecuteResponse]
    def __init__(self, responses: _Optional[_Iterable[_Union[ExecuteResponse, _Mapping]]] = ...) -> None: ...

class ExecuteRequest(_message.Message):
    __slots__ = ("id", "program", "limits", "stdio_tests", "function_tests", "assert_tests", "stop_rule", "queue_time_ms", "deduplicate")
    ID_FIELD_NUMBER: _ClassVar[int]
    PROGRAM_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    STDIO_TESTS_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_TESTS_FIELD_NUMBER: _ClassVar[int]
    ASSERT_TESTS_FIELD_NUMBER: _ClassVar[int]
    STOP_RULE_FIELD_NUMBER: _ClassVar[int]
    QUEUE_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    DEDUPLICATE_FIELD_NUMBER: _ClassVar[int]
    id: str
    program: Program
    limits: Limits
    stdio_tests: StdioTests
    function_tests: FunctionTests
    assert_tests: AssertTests
    stop_rule: StopRule
    queue_time_ms: int
    deduplicate: bool
    def __init__(self, id: _Optional[str] = ..., program: _Optional[_Union[Program, _Mapping]] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., stdio_tests: _Optional[_Union[StdioTests, _Mapping]] = ..., function_tests: _Optional[_Union[FunctionTests, _Mapping]] = ..., assert_tests: _Optional[_Union[AssertTests, _Mapping]] = ..., stop_rule: _Optional[_Union[StopRule, str]] = ..., queue_time_ms: _Optional[int] = ..., deduplicate: _Optional[bool] = ...) -> None: ...

class Program(_message.Message):
    __slots__ = ("language", "source", "files", "stdin")
    class FilesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bytes
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    STDIN_FIELD_NUMBER: _ClassVar[int]
    language: str
    source: bytes
    files: _containers.ScalarMap[str, bytes]
    stdin: bytes
    def __init__(self, language: _Optional[str] = ..., source: _Optional[bytes] = ..., files: _Optional[_Mapping[str, bytes]] = ..., stdin: _Optional[bytes] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("cpu_time_ms", "wall_time_ms", "memory_bytes", "output_bytes", "processes", "open_files", "file_size_bytes")
    CPU_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    WALL_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_BYTES_FIELD_NUMBER: _ClassVar[int]
    PROCESSES_FIELD_NUMBER: _ClassVar[int]
    OPEN_FILES_FIELD_NUMBER: _ClassVar[int]
    FILE_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    cpu_time_ms: int
    wall_time_ms: int
    memory_bytes: int
    output_bytes: int
    processes: int
    open_files: int
    file_size_bytes: int
    def __init__(self, cpu_time_ms: _Optional[int] = ..., wall_time_ms: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., output_bytes: _Optional[int] = ..., processes: _Optional[int] = ..., open_files: _Optional[int] = ..., file_size_bytes: _Optional[int] = ...) -> None: ...

class StdioTests(_message.Message):
    __slots__ = ("tests", "compare_rule")
    class Test(_message.Message):
        __slots__ = ("stdin", "expected_stdout")
        STDIN_FIELD_NUMBER: _ClassVar[int]
        EXPECTED_STDOUT_FIELD_NUMBER: _ClassVar[int]
        stdin: bytes
        expected_stdout: bytes
        def __init__(self, stdin: _Optional[bytes] = ..., expected_stdout: _Optional[bytes] = ...) -> None: ...
    TESTS_FIELD_NUMBER: _ClassVar[int]
    COMPARE_RULE_FIELD_NUMBER: _ClassVar[int]
    tests: _containers.RepeatedCompositeFieldContainer[StdioTests.Test]
    compare_rule: CompareRule
    def __init__(self, tests: _Optional[_Iterable[_Union[StdioTests.Test, _Mapping]]] = ..., compare_rule: _Optional[_Union[CompareRule, str]] = ...) -> None: ...

class FunctionTests(_message.Message):
    __slots__ = ("entry_point", "tests", "float_tolerance")
    class Test(_message.Message):
        __slots__ = ("args", "kwargs", "expected")
        class KwargsEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: Value
            def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...
        ARGS_FIELD_NUMBER: _ClassVar[int]
        KWARGS_FIELD_NUMBER: _ClassVar[int]
        EXPECTED_FIELD_NUMBER: _ClassVar[int]
        args: _containers.RepeatedCompositeFieldContainer[Value]
        kwargs: _containers.MessageMap[str, Value]
        expected: Value
        def __init__(self, args: _Optional[_Iterable[_Union[Value, _Mapping]]] = ..., kwargs: _Optional[_Mapping[str, Value]] = ..., expected: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...
    ENTRY_POINT_FIELD_NUMBER: _ClassVar[int]
    TESTS_FIELD_NUMBER: _ClassVar[int]
    FLOAT_TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    entry_point: str
    tests: _containers.RepeatedCompositeFieldContainer[FunctionTests.Test]
    float_tolerance: float
    def __init__(self, entry_point: _Optional[str] = ..., tests: _Optional[_Iterable[_Union[FunctionTests.Test, _Mapping]]] = ..., float_tolerance: _Optional[float] = ...) -> None: ...

class AssertTests(_message.Message):
    __slots__ = ("code", "entry_points", "prompt", "check")
    CODE_FIELD_NUMBER: _ClassVar[int]
    ENTRY_POINTS_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    CHECK_FIELD_NUMBER: _ClassVar[int]
    code: bytes
    entry_points: _containers.RepeatedScalarFieldContainer[str]
    prompt: bytes
    check: str
    def __init__(self, code: _Optional[bytes] = ..., entry_points: _Optional[_Iterable[str]] = ..., prompt: _Optional[bytes] = ..., check: _Optional[str] = ...) -> None: ...

class Value(_message.Message):
    __slots__ = ("none", "boolean", "integer", "big_integer", "float", "text", "data", "list", "tuple", "set", "frozenset", "dict", "complex")
    class Items(_message.Message):
        __slots__ = ("items",)
        ITEMS_FIELD_NUMBER: _ClassVar[int]
        items: _containers.RepeatedCompositeFieldContainer[Value]
        def __init__(self, items: _Optional[_Iterable[_Union[Value, _Mapping]]] = ...) -> None: ...
    class Entries(_message.Message):
        __slots__ = ("keys", "values")
        KEYS_FIELD_NUMBER: _ClassVar[int]
        VALUES_FIELD_NUMBER: _ClassVar[int]
        keys: _containers.RepeatedCompositeFieldContainer[Value]
        values: _containers.RepeatedCompositeFieldContainer[Value]
        def __init__(self, keys: _Optional[_Iterable[_Union[Value, _Mapping]]] = ..., values: _Optional[_Iterable[_Union[Value, _Mapping]]] = ...) -> None: ...
    class Complex(_message.Message):
        __slots__ = ("real", "imag")
        REAL_FIELD_NUMBER: _ClassVar[int]
        IMAG_FIELD_NUMBER: _ClassVar[int]
        real: float
        imag: float
        def __init__(self, real: _Optional[float] = ..., imag: _Optional[float] = ...) -> None: ...
    NONE_FIELD_NUMBER: _ClassVar[int]
    BOOLEAN_FIELD_NUMBER: _ClassVar[int]
    INTEGER_FIELD_NUMBER: _ClassVar[int]
    BIG_INTEGER_FIELD_NUMBER: _ClassVar[int]
    FLOAT_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    LIST_FIELD_NUMBER: _ClassVar[int]
    TUPLE_FIELD_NUMBER: _ClassVar[int]
    SET_FIELD_NUMBER: _ClassVar[int]
    FROZENSET_FIELD_NUMBER: _ClassVar[int]
    DICT_FIELD_NUMBER: _ClassVar[int]
    COMPLEX_FIELD_NUMBER: _ClassVar[int]
    none: bool
    boolean: bool
    integer: int
    big_integer: str
    float: float
    text: str
    data: bytes
    list: Value.Items
    tuple: Value.Items
    set: Value.Items
    frozenset: Value.Items
    dict: Value.Entries
    complex: Value.Complex
    def __init__(self, none: _Optional[bool] = ..., boolean: _Optional[bool] = ..., integer: _Optional[int] = ..., big_integer: _Optional[str] = ..., float: _Optional[float] = ..., text: _Optional[str] = ..., data: _Optional[bytes] = ..., list: _Optional[_Union[Value.Items, _Mapping]] = ..., tuple: _Optional[_Union[Value.Items, _Mapping]] = ..., set: _Optional[_Union[Value.Items, _Mapping]] = ..., frozenset: _Optional[_Union[Value.Items, _Mapping]] = ..., dict: _Optional[_Union[Value.Entries, _Mapping]] = ..., complex: _Optional[_Union[Value.Complex, _Mapping]] = ...) -> None: ...

class ExecuteResponse(_message.Message):
    __slots__ = ("id", "report", "rejected")
    ID_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    id: str
    report: Report
    rejected: Rejection
    def __init__(self, id: _Optional[str] = ..., report: _Optional[_Union[Report, _Mapping]] = ..., rejected: _Optional[_Union[Rejection, _Mapping]] = ...) -> None: ...

class Rejection(_message.Message):
    __slots__ = ("code", "message", "retry_after_ms")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    code: int
    message: str
    retry_after_ms: int
    def __init__(self, code: _Optional[int] = ..., message: _Optional[str] = ..., retry_after_ms: _Optional[int] = ...) -> None: ...

class Cause(_message.Message):
    __slots__ = ("kind", "message", "limit", "measured", "allowed")
    KIND_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    MEASURED_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_FIELD_NUMBER: _ClassVar[int]
    kind: CauseKind
    message: str
    limit: str
    measured: int
    allowed: int
    def __init__(self, kind: _Optional[_Union[CauseKind, str]] = ..., message: _Optional[str] = ..., limit: _Optional[str] = ..., measured: _Optional[int] = ..., allowed: _Optional[int] = ...) -> None: ...

class TestResult(_message.Message):
    __slots__ = ("index", "verdict", "message", "cpu_time_ms")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CPU_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    index: int
    verdict: Verdict
    message: str
    cpu_time_ms: float
    def __init__(self, index: _Optional[int] = ..., verdict: _Optional[_Union[Verdict, str]] = ..., message: _Optional[str] = ..., cpu_time_ms: _Optional[float] = ...) -> None: ...

class Report(_message.Message):
    __slots__ = ("verdict", "cause", "tests", "tests_passed", "tests_total", "trust", "error", "exit_code", "cpu_time_ms", "wall_time_ms", "queue_time_ms", "peak_memory_bytes", "stdout", "stderr", "stdout_truncated", "stderr_truncated", "deduplicated")
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    TESTS_FIELD_NUMBER: _ClassVar[int]
    TESTS_PASSED_FIELD_NUMBER: _ClassVar[int]
    TESTS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    TRUST_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    CPU_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    WALL_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    PEAK_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    STDOUT_FIELD_NUMBER: _ClassVar[int]
    STDERR_FIELD_NUMBER: _ClassVar[int]
    STDOUT_TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    STDERR_TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    DEDUPLICATED_FIELD_NUMBER: _ClassVar[int]
    verdict: Verdict
    cause: Cause
    tests: _containers.RepeatedCompositeFieldContainer[TestResult]
    tests_passed: int
    tests_total: int
    trust: Trust
    error: str
    exit_code: int
    cpu_time_ms: float
    wall_time_ms: float
    queue_time_ms: float
    peak_memory_bytes: int
    stdout: bytes
    stderr: bytes
    stdout_truncated: bool
    stderr_truncated: bool
    deduplicated: bool
    def __init__(self, verdict: _Optional[_Union[Verdict, str]] = ..., cause: _Optional[_Union[Cause, _Mapping]] = ..., tests: _Optional[_Iterable[_Union[TestResult, _Mapping]]] = ..., tests_passed: _Optional[int] = ..., tests_total: _Optional[int] = ..., trust: _Optional[_Union[Trust, str]] = ..., error: _Optional[str] = ..., exit_code: _Optional[int] = ..., cpu_time_ms: _Optional[float] = ..., wall_time_ms: _Optional[float] = ..., queue_time_ms: _Optional[float] = ..., peak_memory_bytes: _Optional[int] = ..., stdout: _Optional[bytes] = ..., stderr: _Optional[bytes] = ..., stdout_truncated: _Optional[bool] = ..., stderr_truncated: _Optional[bool] = ..., deduplicated: _Optional[bool] = ...) -> None: ...

class DescribeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DescribeResponse(_message.Message):
    __slots__ = ("languages", "default_limits", "maximum_limits", "slots", "version")
    class Language(_message.Message):
        __slots__ = ("name", "version")
        NAME_FIELD_NUMBER: _ClassVar[int]
        VERSION_FIELD_NUMBER: _ClassVar[int]
        name: str
        version: str
        def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...
    LANGUAGES_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_LIMITS_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_LIMITS_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    languages: _containers.RepeatedCompositeFieldContainer[DescribeResponse.Language]
    default_limits: Limits
    maximum_limits: Limits
    slots: int
    version: str
    def __init__(self, languages: _Optional[_Iterable[_Union[DescribeResponse.Language, _Mapping]]] = ..., default_limits: _Optional[_Union[Limits, _Mapping]] = ..., maximum_limits: _Optional[_Union[Limits, _Mapping]] = ..., slots: _Optional[int] = ..., version: _Optional[str] = ...) -> None: ...

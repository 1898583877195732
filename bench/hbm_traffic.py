"""How much a compiled TPU program moves between a chip and its memory (HBM), by the part of the step it is for.

Counts operands and results of the program's instructions that lie in HBM, once for each instruction. What lies in VMEM
(memory space 1) costs nothing, a slice counts by its own size, and what an instruction only hands on not at all. A
buffer that is read by two instructions counts twice, as it does on the chip.
"""

import dataclasses
import math
import re
from collections.abc import Iterator

PARTS = ("weights and optimiser", "generator", "discriminator", "exchanges")
WEIGHTS, GENERATOR, DISCRIMINATOR, EXCHANGES = PARTS
KERNEL_SIDE = 4  # the largest
NOTHING_MOVES = {"parameter", "constant", "get-tuple-element", "tuple", "bitcast", "after-all", "partition-id"}
SLICES = {"slice", "dynamic-slice", "slice-start"}
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
INSTRUCTION = re.compile(r"^\s+(ROOT )?%(\S+) = (\(.*?\)|\S+) ([a-z][\w-]*)\((.*)$")
FUNCTION = re.compile(r"^(ENTRY )?%?(\S+) \(.*\) -> .*\{$")
ARRAY = re.compile(r"\b(?:pred|[a-z]+(\d+)\w*)\[([\d,]*)\](?:\{([^}]*)\})?")


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a program: `kind(operands)` makes `types`.

    Attributes:
      operands: names; of a parameter its number.
      function: that a fusion calls.
      scope: the names of the modules that it comes from.
      root: whether its results are those of its function.
    """

    name: str
    types: str
    kind: str
    operands: tuple[str, ...]
    function: str
    scope: str
    root: bool


@dataclasses.dataclass(frozen=True)
class Array:
    """An array of a type: its bytes, its shape, and whether it lies in HBM."""

    size: int
    shape: tuple[int, ...]
    in_hbm: bool

    def is_of_images(self, images: int) -> bool:
        """Returns whether it has a row for each of so many images, or for a few times as many."""
        kernel = all(length <= KERNEL_SIDE for length in self.shape[:2])
        return len(self.shape) > 2 and not kernel and self.shape[0] in (images, 2 * images)


def hbm_traffic(text: str, images: int) -> dict[str, float]:
    """Computes the GB that one chip reads and writes in a step, by part; loops count once.

    Maps are the generator's or the discriminator's, by the module that reads or writes them; all arrays without a row
    for each image, so also kernels divided by sigma and gradients, are of weights and optimiser.

    Args:
      text: `as_text()` of a compiled program.
      images: of the batch on one chip.
    """
    functions, entry = parse(text)
    defined = {instruction.name: instruction for instruction in functions[entry]}
    traffic = dict.fromkeys(PARTS, 0.0)
    for instruction in functions[entry]:
        if instruction.kind in NOTHING_MOVES or instruction.kind.endswith("-done"):
            continue
        for array, size in moved(instruction, defined, functions):
            if instruction.kind.startswith(COLLECTIVES):
                part = EXCHANGES
            elif array.is_of_images(images):
                part = DISCRIMINATOR if "Discriminator" in scope_of(instruction, defined) else GENERATOR
            else:
                part = WEIGHTS
            traffic[part] += size / 1e9
    return traffic


def moved(
    instruction: Instruction, defined: dict[str, Instruction], functions: dict[str, list[Instruction]]
) -> Iterator[tuple[Array, int]]:
    """Yields the arrays in HBM that an instruction reads and writes, and how many bytes of each."""
    body = functions.get(instruction.function, [])
    results = arrays(instruction.types)
    if instruction.kind == "slice-start":  # ((operands), result, context)
        results = results[1:2]
    elif instruction.kind.endswith("-start"):  # (result, operand, context)
        results = results[:1]
    for number, name in enumerate(instruction.operands):
        operands = arrays(defined[name].types) if name in defined else []
        part = results[0].size if instruction.kind in SLICES else part_read(body, number)
        yield from (
            (array, min(array.size, array.size if part is None else part)) for array in operands if array.in_hbm
        )
    written = [x for x in body if x.root and x.kind == "dynamic-update-slice"]
    update = next((x for x in body if written and x.name == written[0].operands[1]), None)
    for array in results:
        if array.in_hbm:
            yield array, arrays(update.types)[0].size if update else array.size


def part_read(body: list[Instruction], number: int) -> int | None:
    """Returns the bytes that a fusion reads of an operand, where it only slices it or writes into it; else None."""
    (name,) = [x.name for x in body if x.kind == "parameter" and x.operands == (str(number),)] or ("",)
    users = [x for x in body if name and name in x.operands]
    if users and all(x.kind in SLICES for x in users):
        return sum(arrays(x.types)[0].size for x in users)
    if users and all(x.kind == "dynamic-update-slice" and x.operands[0] == name for x in users):
        return 0  # in place
    return None


def scope_of(instruction: Instruction, defined: dict[str, Instruction]) -> str:
    """Returns the names of the modules that an instruction comes from; of what only moves an array, those of that."""
    while not instruction.scope and instruction.operands and instruction.operands[0] in defined:
        instruction = defined[instruction.operands[0]]
    return instruction.scope


def arrays(types: str) -> list[Array]:
    """Returns the arrays of a type such as "(f32[2]{0:T(128)S(1)}, s32[])"."""
    found = []
    for bits, lengths, layout in ARRAY.findall(types):
        shape = tuple(int(length) for length in lengths.split(",") if length)
        found.append(Array(math.prod(shape) * int(bits or 8) // 8, shape, "S(" not in layout))
    return found


def parse(text: str) -> tuple[dict[str, list[Instruction]], str]:
    """Returns the instructions of each function of a program, and the name of the one that is called."""
    functions: dict[str, list[Instruction]] = {}
    current, entry = "", ""
    for line in text.splitlines():
        if function := FUNCTION.match(line):
            current = function[2]
            functions[current] = []
            entry = current if function[1] else entry
        elif current and (found := INSTRUCTION.match(line)):
            root, name, types, kind, rest = found.groups()
            given = rest.split("), ")[0].rstrip(")")
            operands = (given,) if kind == "parameter" else tuple(re.findall(r"%([^\s,)]+)", given))
            called, scope = re.search(r"calls=%?([^\s,]+)", rest), re.search(r'op_name="([^"]*)"', rest)
            instruction = Instruction(
                name, types, kind, operands, called[1] if called else "", scope[1] if scope else "", bool(root)
            )
            functions[current].append(instruction)
    return functions, entry

// The core by Verilator, with ROM and RAM around it. Standard input holds programs one after the other: how many
// words of code, how many instructions to execute, the words with their addresses, RAM. Of each, standard output
// gets where it ended, what every instruction left behind (pc, x1 to x31, address and word of a store), and RAM.
#include <cstdint>
#include <cstdio>
#include <vector>

#include "Vcore.h"
#include "Vcore___024root.h"
#include "verilated.h"

using Word = uint32_t;
static const Word CODE[2] = {0x00000000, 0xF0000000}, CODE_BYTES = 0x100000, RAM = 0x7FFFF000, RAM_BYTES = 0x2000;
static Word code[2][CODE_BYTES / 4], ram[RAM_BYTES / 4];

static bool take(void *into, size_t bytes) { return fread(into, 1, bytes, stdin) == bytes; }

static Word fetched(Word pc) {
    for (int window = 0; window < 2; window++)
        if (pc - CODE[window] < CODE_BYTES) return code[window][(pc - CODE[window]) / 4];
    return 0;
}

int main() {
    VerilatedContext context;
    Vcore core{&context};
    auto tick = [&](bool reset) {
        core.rst = reset;
        core.clk = 0;
        core.eval();
        core.clk = 1;
        core.eval();
    };
    Word counts[2];
    while (take(counts, sizeof counts)) {
        std::vector<Word> placed(2 * counts[0]);
        if (!take(placed.data(), placed.size() * sizeof(Word))) return 1;
        auto word_at = [&](Word pc) -> Word & { return code[pc >= CODE[1]][pc % CODE_BYTES / 4]; };
        for (Word at = 0; at < placed.size(); at += 2) word_at(placed[at]) = placed[at + 1];
        if (!take(ram, sizeof ram)) return 1;
        auto &x = core.rootp->core__DOT__registers;
        for (int at = 0; at < 32; at++) x[at] = 0;
        core.instr = core.rdata = 0;
        tick(true);
        std::vector<Word> trace;
        Word executed = 0, answer = 0;
        for (Word ticks = 0; executed < counts[1] && !core.halted && ticks < 2 * counts[1] + 2; ticks++) {
            core.rst = 0;
            core.instr = fetched(core.pc);
            core.rdata = answer;
            core.eval();
            Word mask = 0, pc = core.pc, place = (core.address - RAM) / 4, written[2] = {0, 0};
            answer = 0xDEADBEEF;
            if (place < RAM_BYTES / 4) {
                if (core.read) answer = ram[place];
                for (int at = 0; at < 4; at++)
                    if (core.strobe >> at & 1) mask |= 0xFFu << 8 * at;
                ram[place] = (ram[place] & ~mask) | (core.wdata & mask);
            }
            if (core.strobe) written[0] = core.address & ~3u, written[1] = place < RAM_BYTES / 4 ? ram[place] : 0;
            bool done = !core.read;
            tick(false);
            if (!done || core.halted) continue;
            executed++;
            trace.push_back(pc);
            for (int at = 1; at < 32; at++) trace.push_back(x[at]);
            trace.insert(trace.end(), {written[0], written[1]});
        }
        Word end[4] = {executed, core.pc, core.halted, core.cause};
        fwrite(end, 1, sizeof end, stdout);
        fwrite(trace.data(), sizeof(Word), trace.size(), stdout);
        fwrite(ram, 1, sizeof ram, stdout);
        fflush(stdout);
        for (Word at = 0; at < placed.size(); at += 2) word_at(placed[at]) = 0;
    }
}

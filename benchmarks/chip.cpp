// The core by Verilator or by CXXRTL (-DCXXRTL), with ROM and RAM around it. Arguments: how many ticks, then the
// words of ROM. RAM's first word is 1 at first, the others 0. Prints seconds, pc and RAM's second word after them.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

using Word = uint32_t;
static const Word RAM = 0x80000000, RAM_WORDS = 0x4000;

#ifdef CXXRTL
#include "core.cc"

struct Core {
    cxxrtl_design::p_core core;
    void inputs(bool rst, Word instr, Word rdata) {
        core.p_rst.set<bool>(rst);
        core.p_instr.set<Word>(instr);
        core.p_rdata.set<Word>(rdata);
        core.p_clk.set<bool>(false);
        core.step();
    }
    void edge() {
        core.p_clk.set<bool>(true);
        core.step();
    }
    Word pc() { return core.p_pc.get<Word>(); }
    Word address() { return core.p_address.get<Word>(); }
    Word data() { return core.p_wdata.get<Word>(); }
    Word strobe() { return core.p_strobe.get<Word>(); }
    bool read() { return core.p_read.get<bool>(); }
    bool halted() { return core.p_halted.get<bool>(); }
};
#else
#include "Vcore.h"
#include "verilated.h"

struct Core {
    VerilatedContext context;
    Vcore core{&context};
    void inputs(bool rst, Word instr, Word rdata) {
        core.rst = rst;
        core.instr = instr;
        core.rdata = rdata;
        core.clk = 0;
        core.eval();
    }
    void edge() {
        core.clk = 1;
        core.eval();
    }
    Word pc() { return core.pc; }
    Word address() { return core.address; }
    Word data() { return core.wdata; }
    Word strobe() { return core.strobe; }
    bool read() { return core.read; }
    bool halted() { return core.halted; }
};
#endif

int main(int count, char **words) {
    std::vector<Word> rom, ram(RAM_WORDS);
    for (int at = 2; at < count; at++) rom.push_back(std::strtoul(words[at], nullptr, 16));
    ram[0] = 1;
    static Core core;
    core.inputs(true, 0, 0);
    core.edge();
    Word rdata = 0;
    auto began = std::chrono::steady_clock::now();
    for (long ticks = std::atol(words[1]); ticks > 0; ticks--) {
        Word at = core.pc() / 4;
        core.inputs(false, at < rom.size() ? rom[at] : 0, rdata);
        Word place = (core.address() - RAM) / 4, strobe = core.strobe();
        if ((core.read() || strobe) && place >= RAM_WORDS) return 1;
        if (core.read()) rdata = ram[place];
        if (strobe) {
            Word mask = 0;
            for (int byte = 0; byte < 4; byte++)
                if (strobe >> byte & 1) mask |= 0xFFu << 8 * byte;
            ram[place] = (ram[place] & ~mask) | (core.data() & mask);
        }
        core.edge();
    }
    std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    std::printf("%.9f %u %u\n", took.count(), core.pc(), ram[1]);
    return core.halted();
}

// What the programs of riscv-tests include, for a core without privileges: an ecall ends a test, and gp says how.
// It is 1 if all went well, else twice the number of the case that failed, and 1.
#define RVTEST_RV32U
#define RVTEST_RV64U
#define TESTNUM gp
#define RVTEST_CODE_BEGIN .section .text.init; .globl _start; _start: li TESTNUM, 0
#define RVTEST_CODE_END
#define RVTEST_PASS li TESTNUM, 1; ecall
#define RVTEST_FAIL slli TESTNUM, TESTNUM, 1; ori TESTNUM, TESTNUM, 1; ecall
#define RVTEST_DATA_BEGIN
#define RVTEST_DATA_END

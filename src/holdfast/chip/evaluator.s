# A program on encrypted bits, cell by cell: a weighted sum of ciphertexts, then one programmable bootstrapping.
#
# Chillotti et al. 2020, "TFHE: fast fully homomorphic encryption over the torus" (eprint 2018/421). All numbers are
# modulo 2^32, which is what a register holds. There is no multiplication: digits choose among a key's multiples.
#
# What evaluator.py says: n, log_degree, digits, log_base, log_unit (of the rotation), switch_digits, switch_log_base,
# switch_log_unit; count, how many ciphertexts RAM holds; and the addresses in ROM of cells, rotation_key, switch_key.
#
# There is no stack, and all registers are alike. Throughout: s0 is in the list of cells, s1 where the result will be.

.equ degree, 1 << log_degree
.equ ciphertext, 4 * (n + 1)            # bytes; a, then b
.equ polynomial, 4 * degree
.equ pair, 2 * polynomial               # two components, as of the accumulator
.equ tile, 4 * 16                       # coefficients of a product that are summed in registers together
.equ extended, tile + polynomial        # a key's polynomial, in front of it its last 16 coefficients, negated
.equ minus, 1 << 31                     # all of RAM is above; an address below, off by this, is of what to subtract

# A cell is five words: where its result goes, its table (0: the sum is the result), what is added to what comes out of
# it, what the sum's b begins with, how many ciphertexts are added; and two words for each of these, address and weight.

.globl _start
_start:
    li   s0, cells
cell:
    lw   s1, 0(s0)
    bnez s1, sum
    ecall                               # behind the last cell
sum:
    lw   t0, 12(s0)
    jal  clear
    lw   s2, 16(s0)                     # how many are to be added
    mv   s3, s0                         # the next of them
added:
    beqz s2, summed
    lw   a0, 20(s3)
    lw   a1, 24(s3)
    jal  add_multiple
    addi s3, s3, 8
    addi s2, s2, -1
    j    added
summed:
    lw   t0, 4(s0)
    beqz t0, next_cell

# Blind rotation: the accumulator begins as X^b table, and for each a_i it becomes acc + (X^e - 1) (digits of acc) key_i
# with e = -a_i, a and b rounded to 2N-ths of a turn, half up.

.macro exponent to                      # 2N-ths of a turn
    li   t0, 1 << (30 - log_degree)
    add  \to, \to, t0
    srli \to, \to, 31 - log_degree
.endm

    la   t0, accumulator
    li   t1, pair
    jal  erase
    li   t0, ciphertext - 4
    add  t0, t0, s1
    lw   a0, 0(t0)
    exponent a0
    lw   a1, 4(s0)
    jal  add_rotated
    mv   s2, s1                         # a_i
    li   s3, rotation_key               # key_i; it moves on as polynomials are read
block:
    lw   a0, 0(s2)
    exponent a0
    bnez a0, external_product           # X^0 - 1 is 0
    li   t0, 4 * digits * extended
    add  s3, s3, t0
    j    next_block
multiplied:
    lw   a0, 0(s2)
    exponent a0
    li   t0, 2 * degree
    sub  a0, t0, a0
    la   a1, product
    jal  add_rotated
    li   a0, degree                     # X^N is -1
    la   a1, product
    jal  add_rotated
next_block:
    addi s2, s2, 4
    li   t0, ciphertext - 4
    add  t0, t0, s1
    bne  s2, t0, block

# The constant coefficient is a ciphertext under the ring's key: a is acc_0, -acc_N-1, ..., -acc_1 of the first
# component, b the second's acc_0. Each digit of an a_j takes so many times a row of the switching key away.

    la   t0, accumulator + polynomial
    lw   t0, 0(t0)
    lw   t1, 8(s0)
    add  t0, t0, t1
    jal  clear
    la   s2, accumulator
    lw   s4, 0(s2)                      # a_j
    la   s5, accumulator + polynomial   # behind the accumulator's coefficient for the next one
    li   a0, switch_key                 # its row
coefficient:
    srai s4, s4, switch_log_unit - 1    # rounded to units, half up
    addi s4, s4, 1
    srai s4, s4, 1
    li   s3, switch_digits
switch_digit:
    mv   a1, s4
    addi s3, s3, -1
    beqz s3, top_switch_digit           # which is all that is left
    addi s4, s4, 1 << (switch_log_base - 1)
    srai s4, s4, switch_log_base
    slli t0, s4, switch_log_base
    sub  a1, a1, t0
top_switch_digit:
    neg  a1, a1
    jal  add_multiple
    li   t0, ciphertext
    add  a0, a0, t0
    bnez s3, switch_digit
    addi s5, s5, -4
    lw   s4, 0(s5)
    neg  s4, s4
    bne  s5, s2, coefficient

next_cell:
    lw   t0, 16(s0)
    slli t0, t0, 3
    add  s0, s0, t0
    addi s0, s0, 20
    j    cell

# product += (digits of the accumulator) key, for each row one digit of each coefficient of one component, times the
# two polynomials of that row's key. Only s0 to s2 keep what they hold.

external_product:
    la   t0, product
    li   t1, pair
    jal  erase

# Digit d of coefficient j becomes the address of d key X^j: of the |d|-th multiple, j words before where it begins;
# less `minus` if d is negative. Digits are in [-base/2, base/2), but for the top one, which is all that is left.

    la   a0, accumulator
    la   a1, rows
    li   a2, pair
    add  a2, a2, a0
    li   a3, polynomial
    add  a3, a3, a0                     # the end of this component
component_to_cut:
    la   a4, multiples + tile           # where 0 X^j begins
coefficient_to_cut:
    lw   t0, 0(a0)
    srai t0, t0, log_unit - 1           # rounded to units, half up
    addi t0, t0, 1
    srai t0, t0, 1
    mv   a5, a1
    li   t5, digits
digit:
    mv   t1, t0
    addi t5, t5, -1
    beqz t5, top_digit
    addi t0, t0, 1 << (log_base - 1)
    srai t0, t0, log_base
    slli t2, t0, log_base
    sub  t1, t1, t2
top_digit:
    srai t2, t1, 31
    xor  t1, t1, t2
    sub  t1, t1, t2                     # |d|
    slli t3, t1, log_degree + 2         # times `extended`
    slli t1, t1, 6
    add  t1, t1, t3
    add  t1, t1, a4
    slli t2, t2, 31                     # `minus` if it is negative
    xor  t1, t1, t2
    sw   t1, 0(a5)
    li   t2, pair                       # the row of the next digit of this component
    add  a5, a5, t2
    bnez t5, digit
    addi a4, a4, -4
    addi a0, a0, 4
    addi a1, a1, 4
    bne  a0, a3, coefficient_to_cut
    mv   a3, a2
    bne  a0, a2, component_to_cut

    la   gp, rows
    li   t5, minus
row:
    li   tp, polynomial
    add  tp, tp, gp                     # its end
    la   t6, product
component:

# Multiples 1 to base/2 of a key's polynomial, eight coefficients at a time. Multiple 0 is never written: it is 0.

.macro key word, multiple, at
    lw   \word, \at(s3)
    mv   \multiple, zero
.endm
.macro next word, multiple, at
    add  \multiple, \multiple, \word
    sw   \multiple, \at(t1)
.endm
.macro eight do
    \do  a0, s4, 0
    \do  a1, s5, 4
    \do  a2, s6, 8
    \do  a3, s7, 12
    \do  a4, s8, 16
    \do  a5, s9, 20
    \do  a6, s10, 24
    \do  a7, s11, 28
.endm

    la   t0, multiples
    li   t2, extended
    li   t3, extended << (log_base - 1)
    add  t4, t0, t2                     # the end of multiple 0
eight_coefficients:
    eight key
    add  sp, t0, t3
    mv   t1, t0
multiple:
    add  t1, t1, t2
    eight next
    bne  t1, sp, multiple
    addi s3, s3, 32
    addi t0, t0, 32
    bne  t0, t4, eight_coefficients

# Sixteen sums in registers, for which all digits are gone through: a digit adds or subtracts sixteen words of one of
# the multiples. Where these would begin further in front than the multiple does, they are N words further on with the
# other sign, as X^N is -1; so there are two stretches of digits.

.macro sums do
    \do  a0, 0
    \do  a1, 4
    \do  a2, 8
    \do  a3, 12
    \do  a4, 16
    \do  a5, 20
    \do  a6, 24
    \do  a7, 28
    \do  s4, 32
    \do  s5, 36
    \do  s6, 40
    \do  s7, 44
    \do  s8, 48
    \do  s9, 52
    \do  s10, 56
    \do  s11, 60
.endm
.macro load to, at
    lw   \to, \at(t6)
.endm
.macro keep from, at
    sw   \from, \at(t6)
.endm
.macro plus to, at
    lw   t0, \at(t1)
    add  \to, \to, t0
.endm
.macro less to, at
    lw   t0, \at(t1)
    sub  \to, \to, t0
.endm

    mv   sp, zero                       # bytes before this tile
a_tile:
    sums load
    mv   t2, gp                         # the next digit
    mv   t4, sp                         # from multiple to what is added for this tile
    addi t3, sp, tile
    add  t3, t3, gp                     # the end of the first stretch
factor:
    lw   t1, 0(t2)
    add  t1, t1, t4
    bgez t1, subtract
    sums plus
    addi t2, t2, 4
    bne  t2, t3, factor
    j    stretch
subtract:
    add  t1, t1, t5
    sums less
    addi t2, t2, 4
    bne  t2, t3, factor
stretch:
    mv   t3, tp
    li   t0, polynomial
    add  t4, t4, t0
    add  t4, t4, t5
    bne  t2, t3, factor
    sums keep
    addi t6, t6, tile
    addi sp, sp, tile
    bne  sp, t0, a_tile
    la   t1, product + pair
    bne  t6, t1, component
    mv   gp, tp
    la   t1, rows + digits * pair
    bne  gp, t1, row
    j    multiplied

# The ciphertext at s1 becomes 0, with b from t0.
clear:
    mv   t1, s1
    li   t2, ciphertext - 4
    add  t2, t2, s1
clear_word:
    sw   zero, 0(t1)
    addi t1, t1, 4
    bne  t1, t2, clear_word
    sw   t0, 0(t1)
    ret

# t1 bytes from t0 on become 0.
erase:
    add  t1, t1, t0
erase_word:
    sw   zero, 0(t0)
    addi t0, t0, 4
    bne  t0, t1, erase_word
    ret

# The ciphertext at s1 += a1 times the one at a0, which is shifted for each bit of |a1|.
add_multiple:
    srai t0, a1, 31
    xor  a1, a1, t0
    sub  a1, a1, t0
    mv   t1, zero
    li   a2, ciphertext
    add  a2, a2, s1
bit:
    andi t2, a1, 1
    srli a1, a1, 1
    beqz t2, next_bit
    mv   t3, a0
    mv   t4, s1
add_word:
    lw   t5, 0(t3)
    sll  t5, t5, t1
    xor  t5, t5, t0
    sub  t5, t5, t0
    lw   t6, 0(t4)
    add  t6, t6, t5
    sw   t6, 0(t4)
    addi t3, t3, 4
    addi t4, t4, 4
    bne  t4, a2, add_word
next_bit:
    addi t1, t1, 1
    bnez a1, bit
    ret

# The accumulator += X^a0 times the two polynomials at a1, 0 <= a0 <= 2N: a coefficient changes its sign with each N
# that it goes.
add_rotated:
    la   a2, accumulator
    li   t0, polynomial - 1
    li   t1, pair - 1
    addi a4, t0, 1
    li   t2, 2
rotated_component:
    slli t3, a0, 2                      # where it goes
    add  t4, a1, a4
rotated:
    and  t3, t3, t1
    srli t5, t3, log_degree + 2
    neg  t5, t5
    lw   t6, 0(a1)
    xor  t6, t6, t5
    sub  t6, t6, t5
    and  t5, t3, t0
    add  t5, t5, a2
    lw   a3, 0(t5)
    add  t6, t6, a3
    sw   t6, 0(t5)
    addi t3, t3, 4
    addi a1, a1, 4
    bne  a1, t4, rotated
    add  a2, a2, a4
    addi t2, t2, -1
    bnez t2, rotated_component
    ret

.data
values:      .space count * ciphertext  # inputs, and results of cells
accumulator: .space pair
product:     .space pair
rows:        .space digits * pair       # 2 x digits rows of digits, of one coefficient each after the other's
multiples:   .space (1 + (1 << (log_base - 1))) * extended

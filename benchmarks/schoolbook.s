# The external product of chip/evaluator.s as it is written in books: each digit of the accumulator times each
# coefficient of a key, by shifting and adding, and each product added where its power of X belongs.

external_product:
    la   t0, product
    li   t1, pair
    jal  erase

# Digit d of coefficient j, as a number.

    la   a0, accumulator
    la   a1, rows
    li   a2, pair
    add  a2, a2, a0
    li   a3, polynomial
    add  a3, a3, a0                     # the end of this component
cut:
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
    sw   t1, 0(a5)
    li   t2, pair                       # the row of the next digit of this component
    add  a5, a5, t2
    bnez t5, digit
    addi a0, a0, 4
    addi a1, a1, 4
    bne  a0, a3, cut
    mv   a3, a2
    bne  a0, a2, cut

    la   gp, rows
row:
    la   t6, product
component:
    addi s3, s3, tile                   # where the key's polynomial begins
    li   a0, 0                          # i, in bytes
factor:
    add  t0, gp, a0
    lw   a1, 0(t0)                      # digit i
    srai a2, a1, 31
    xor  a1, a1, a2
    sub  a1, a1, a2                     # its size; its sign is in a2
    mv   a3, zero                       # j, in bytes
    li   a4, polynomial
    mv   a5, a0                         # i + j, in bytes
coefficient_product:
    add  t0, s3, a3
    lw   t1, 0(t0)                      # key_j
    mv   t2, zero
    mv   t3, a1
multiply:
    andi t4, t3, 1
    beqz t4, no_addition
    add  t2, t2, t1
no_addition:
    slli t1, t1, 1
    srli t3, t3, 1
    bnez t3, multiply
    xor  t2, t2, a2
    sub  t2, t2, a2
    blt  a5, a4, no_wrap                # X^N is -1
    neg  t2, t2
no_wrap:
    addi t0, a4, -1
    and  t0, t0, a5
    add  t0, t0, t6
    lw   t1, 0(t0)
    add  t1, t1, t2
    sw   t1, 0(t0)
    addi a3, a3, 4
    addi a5, a5, 4
    bne  a3, a4, coefficient_product
    addi a0, a0, 4
    bne  a0, a4, factor
    add  s3, s3, a4                     # the next polynomial of the key
    add  t6, t6, a4
    la   t0, product + pair
    bne  t6, t0, component
    add  gp, gp, a4
    la   t0, rows + digits * pair
    bne  gp, t0, row
    j    multiplied

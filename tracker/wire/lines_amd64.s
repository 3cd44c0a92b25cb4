//go:build !purego

#include "textflag.h"

// func linesAVX2(b []byte) int
//
// Each turn of the loop looks at 32 bytes:
//
//	AX  where a backslash is
//	BX  where r or n is
//	CX  where a byte from 0x20 to 0x7f is that is no quote
//	R8  what comes after a backslash, the last one of the bytes before in bit 0
//
// and ends it if anything else is there, or anything else comes after a
// backslash.
TEXT ·linesAVX2(SB), NOSPLIT, $0-32
	MOVQ b_base+0(FP), SI
	MOVQ b_len+8(FP), DI
	XORL R9, R9           // bytes passed
	XORL DX, DX           // 1 if the last of them is a backslash
	MOVQ $0x5c5c5c5c5c5c5c5c, AX
	VMOVQ AX, X8
	VPBROADCASTQ X8, Y8   // backslash
	MOVQ $0x7272727272727272, AX
	VMOVQ AX, X9
	VPBROADCASTQ X9, Y9   // r
	MOVQ $0x6e6e6e6e6e6e6e6e, AX
	VMOVQ AX, X10
	VPBROADCASTQ X10, Y10 // n
	MOVQ $0x2222222222222222, AX
	VMOVQ AX, X11
	VPBROADCASTQ X11, Y11 // quote
	MOVQ $0x1f1f1f1f1f1f1f1f, AX
	VMOVQ AX, X12
	VPBROADCASTQ X12, Y12
	SUBQ $32, DI          // the last place to begin at

loop:
	CMPQ R9, DI
	JGT  end
	VMOVDQU (SI)(R9*1), Y0
	VPCMPEQB Y8, Y0, Y1
	VPCMPEQB Y9, Y0, Y2
	VPCMPEQB Y10, Y0, Y3
	VPOR Y2, Y3, Y2
	VPCMPEQB Y11, Y0, Y4
	VPCMPGTB Y12, Y0, Y5  // signed: what is not ASCII is below
	VPANDN Y5, Y4, Y5
	VPMOVMSKB Y1, AX
	VPMOVMSKB Y2, BX
	VPMOVMSKB Y5, CX
	LEAQ (DX)(AX*2), R8
	NOTL BX
	ANDL R8, BX           // after a backslash, but neither r nor n
	NOTL CX               // none of the bytes that may be there
	MOVL BX, R10
	ORL  CX, R10
	JNZ  stop
	MOVQ R8, DX
	SHRQ $32, DX
	ADDQ $32, R9
	JMP  loop

stop:
	TESTL $1, BX
	JNZ  end              // the backslash is the last byte of those before
	SHRL $1, BX           // where the backslash is
	ORL  BX, CX
	BSFL CX, CX
	ADDQ CX, R9
	XORL DX, DX

end:
	SUBQ DX, R9
	VZEROUPPER
	MOVQ R9, ret+24(FP)
	RET

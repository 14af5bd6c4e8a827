"""Pickles that make a folder `sprung` in the current folder when they are read without care."""
# name, content, words of the line that refuses them
PICKLES = [
    ('GLOBAL and REDUCE', b"cos\nsystem\n(S'mkdir sprung'\ntR.", ['os.system, which no data file needs']),
    ('GLOBAL of another module', b"csubprocess\ncheck_output\n((lS'mkdir'\naS'sprung'\natR.",
     ['subprocess.check_output']),
    ('STACK_GLOBAL', b'\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x0cmkdir sprung\x85R.', ['posix.system']),
    ('a dotted STACK_GLOBAL', b'\x80\x04\x8c\x07tarfile\x8c\x09os.system\x93\x8c\x0cmkdir sprung\x85R.',
     ['tarfile.os.system']),
    ('INST', b"(S'mkdir sprung'\nios\nsystem\n.", ['os.system']),
    ('OBJ', b"(cos\nsystem\nS'mkdir sprung'\no.", ['os.system']),
    ('eval', b"cbuiltins\neval\n(S'__import__(\"os\").mkdir(\"sprung\")'\ntR.", ['builtins.eval']),
    ('eval by its name in Python 2',
     b"\x80\x02c__builtin__\neval\n(S'__import__(\"os\").mkdir(\"sprung\")'\ntR.", ['__builtin__.eval']),
    ('getattr', b"cbuiltins\ngetattr\n(cbuiltins\n__import__\n(Vos\ntRVmkdir\ntR(Vsprung\ntR.",
     ['builtins.getattr']),
    ('through the memo', b"cos\nmkdir\nq\x000]h\x00(S'sprung'\ntR.", ['os.mkdir']),
    ('a function kept in the memo',
     b"\x80\x02}q\x00cos\nmkdir\nr\xff\x00\x00\x000j\xff\x00\x00\x00U\x06sprung\x85R.", ['os.mkdir']),
    ('behind good arrays', b"(dS'data'\n(lsS'fine_labels'\n(lsS'filenames'\ncos\nmkdir\n(S'sprung'\ntRs.",
     ['os.mkdir']),
    ('BUILD', b"\x80\x02cnumpy\ndtype\nU\x02u1\x85R}U\x05foundcos\nmkdir\nU\x06sprung\x85Rsb.", ['os.mkdir']),
]

# The same without effect on Python's own reader: they would change this program's classes, or believe a
# pickle's addresses.
ODD = [
    ('BUILD of a class', b"\x80\x02cnumpy\ndtype\nN}U\x08__call__K\x01s\x86b.", ['it changes a type']),
    ('BUILD of a function', b"\x80\x02c_codecs\nencode\n}U\x04nameK\x01sb.", ['it changes a function']),
    ('an array of objects',
     b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR(K\x01K\x01\x85"
     b"cnumpy\ndtype\nU\x02O8\x85R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x3ftb\x89"
     b"U\x08AAAAAAAAtb.",
     ['an array of O8']),
    ('a type that names addresses',
     b"\x80\x02cnumpy\ndtype\nU\x02V8\x85R(K\x03U\x01|NU\x01f\x85}U\x01f(cnumpy\ndtype\nU\x02O8\x85RK\x00ts"
     b"K\x08K\x01K\x00tb.", ['an array of V8']),
    ('another encoding', b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00bz2\x86R.",
     ['the encoding bz2']),
    ('a persistent name', b"Psprung\n.", ['is no CIFAR-100 file']),
    ('an extension', b"\x80\x02\x82\x01.", ['is no CIFAR-100 file']),
    ('a tower of tuples', b"\x80\x02)" + b"\x85" * 200000 + b".", ['is no CIFAR-100 file']),
]

# cmake -D LIST=FILE -D ROOT=FOLDER -D OUTPUT=FILE -P SourceDigest.cmake: an include file with a digest of names and contents of
# the files that LIST names, a line each, relative to ROOT.
file(STRINGS ${LIST} files)
foreach(file IN LISTS files)
  file(SHA256 ${ROOT}/${file} digest)
  string(APPEND text "${file} ${digest}\n")
endforeach()
string(SHA256 digest "${text}")
string(SUBSTRING ${digest} 0 12 digest)
file(WRITE ${OUTPUT} "#define LATHE_SOURCE_DIGEST \"${digest}\"\n")

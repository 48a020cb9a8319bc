# Findllhttp: sets llhttp_FOUND and the target llhttp::llhttp.
#
# An installed libllhttp first (pkg-config, then its CMake package), else the C sources that Debian's node-llhttp
# carries, or those in LLHTTP_SOURCE_DIR. Sources are compiled into libturbo: they are no library of their own. For an
# installed one llhttp_DEPENDENCY is how who links the static libturbo finds it, too.
set(LLHTTP_SOURCE_DIR "" CACHE PATH "Directory with llhttp's api.c, http.c, llhttp.c; empty: search")

if(NOT LLHTTP_SOURCE_DIR)
  find_package(PkgConfig QUIET)
  if(PkgConfig_FOUND)
    pkg_check_modules(PC_LLHTTP QUIET IMPORTED_TARGET GLOBAL libllhttp)
  endif()
  if(PC_LLHTTP_FOUND)
    add_library(llhttp::llhttp ALIAS PkgConfig::PC_LLHTTP)
    set(llhttp_FOUND TRUE)
    set(llhttp_DEPENDENCY "pkg_check_modules(PC_LLHTTP REQUIRED IMPORTED_TARGET GLOBAL libllhttp)")
    set(llhttp_PC libllhttp)
    return()
  endif()
  find_package(llhttp QUIET CONFIG GLOBAL)
  if(TARGET llhttp::llhttp_shared)
    add_library(llhttp::llhttp ALIAS llhttp::llhttp_shared)
    set(llhttp_FOUND TRUE)
    set(llhttp_DEPENDENCY "find_dependency(llhttp)")
    set(llhttp_PC libllhttp)
    return()
  endif()
endif()

if(LLHTTP_SOURCE_DIR) # these and no others: a wrong directory must not be served by what the system happens to have
  set(llhttp_where PATHS ${LLHTTP_SOURCE_DIR} ${LLHTTP_SOURCE_DIR}/src ${LLHTTP_SOURCE_DIR}/include NO_DEFAULT_PATH)
else()
  set(llhttp_where PATHS /usr/share/llhttp /usr/share/include/llhttp)
endif()
find_path(llhttp_sources llhttp.c ${llhttp_where} NO_CACHE)
find_path(llhttp_headers llhttp.h ${llhttp_where} NO_CACHE)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(llhttp REQUIRED_VARS llhttp_sources llhttp_headers
  REASON_FAILURE_MESSAGE "install libllhttp-dev (or node-llhttp on Debian 12), or set LLHTTP_SOURCE_DIR")
if(llhttp_FOUND AND NOT TARGET llhttp_objects)
  add_library(llhttp_objects OBJECT
    ${llhttp_sources}/api.c ${llhttp_sources}/http.c ${llhttp_sources}/llhttp.c)
  target_include_directories(llhttp_objects SYSTEM PUBLIC ${llhttp_headers})
  set(llhttp_OBJECTS $<TARGET_OBJECTS:llhttp_objects>)
  add_library(llhttp_include INTERFACE)
  target_include_directories(llhttp_include SYSTEM INTERFACE ${llhttp_headers})
  add_library(llhttp::llhttp ALIAS llhttp_include)
endif()

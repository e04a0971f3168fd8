# SPDX-License-Identifier: MIT
# What `cmake --install` puts where, in three components:
#
#   programs   weftd, weft, their manual pages, completions and documents, below the prefix: a user
#              may install these alone
#              (cmake --install build/release --prefix ~/.local --component programs)
#   service    units, user, folders and /etc/weft/weftd.conf: for the system's weftd
#   libraries  libweft, libweftclient and what belongs to them, shared and static, with headers and
#              the files for pkg-config and find_package; not from a sanitized build
#
# systemd reads lib/systemd, lib/sysusers.d and lib/tmpfiles.d below /usr and below /usr/local.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(WEFT_CONFIG_DIR /etc/weft CACHE PATH "where the system's weftd reads its configuration")

install(TARGETS weftd weft-cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT programs)
install(FILES README.md CHANGELOG.md LICENSE docs/configuration.md docs/job-states.md
  docs/modules.md docs/operations.md docs/protocol.md DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT programs)
install(FILES conf/weftd.conf DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples COMPONENT programs)

# Manual pages are what the programs say of themselves.
if(NOT WEFT_SANITIZE AND NOT CMAKE_CROSSCOMPILING)
  set(manual ${PROJECT_BINARY_DIR}/manual)
  file(MAKE_DIRECTORY ${manual})
  function(weft_manual page section)
    add_custom_command(OUTPUT ${manual}/${page} VERBATIM
      DEPENDS ${PROJECT_SOURCE_DIR}/tools/manual.sh ${ARGV2}
      COMMAND ${PROJECT_SOURCE_DIR}/tools/manual.sh ${page} ${ARGN} > ${manual}/${page}.new
      COMMAND ${CMAKE_COMMAND} -E rename ${manual}/${page}.new ${manual}/${page})
    install(FILES ${manual}/${page} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section} COMPONENT programs)
  endfunction()
  weft_manual(weft.1 1 $<TARGET_FILE:weft-cli>)
  weft_manual(weftd.8 8 $<TARGET_FILE:weftd>)
  weft_manual(weftd.conf.5 5 ${PROJECT_SOURCE_DIR}/conf/weftd.conf ${PROJECT_VERSION})
  add_custom_target(manual ALL DEPENDS ${manual}/weft.1 ${manual}/weftd.8 ${manual}/weftd.conf.5)
  add_dependencies(programs manual)
endif()
install(FILES client/completions/weft.bash RENAME weft
  DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions COMPONENT programs)
install(FILES client/completions/_weft
  DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions COMPONENT programs)
install(FILES client/completions/weft.fish
  DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d COMPONENT programs)

install(FILES systemd/sysusers.d/weft.conf DESTINATION lib/sysusers.d COMPONENT service)
install(FILES systemd/tmpfiles.d/weft.conf DESTINATION lib/tmpfiles.d COMPONENT service)

# weft_install_edited(COMPONENT FOLDER FILES...): with the prefix in them, which is known only when
# they are installed (cmake --install --prefix).  @NAME@ is replaced, and in units, which name
# /usr/bin and /etc/weft as they are where the distribution installs them, these.
function(weft_install_edited component folder)
  foreach(file ${ARGN})
    get_filename_component(name ${file} NAME)
    string(REGEX REPLACE "\\.in$" "" name ${name})
    set(edited ${PROJECT_BINARY_DIR}/edited/${folder}/${name})
    install(CODE "
      set(PROJECT_VERSION ${PROJECT_VERSION})
      set(CMAKE_INSTALL_LIBDIR ${CMAKE_INSTALL_LIBDIR})
      set(CMAKE_INSTALL_INCLUDEDIR ${CMAKE_INSTALL_INCLUDEDIR})
      configure_file(\"${PROJECT_SOURCE_DIR}/${file}\" \"${edited}\" @ONLY)
      file(READ \"${edited}\" text)
      string(REPLACE \"/usr/bin/weft\" \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}/weft\" text \"\${text}\")
      string(REPLACE \"/etc/weft/\" \"${WEFT_CONFIG_DIR}/\" text \"\${text}\")
      file(WRITE \"${edited}\" \"\${text}\")"
      COMPONENT ${component})
    install(FILES ${edited} DESTINATION ${folder} COMPONENT ${component})
  endforeach()
endfunction()

set(units weftd.service weftd-strict.service weftd-multi.service weftd.socket weftd-multi.socket)
list(TRANSFORM units PREPEND systemd/)
weft_install_edited(service lib/systemd/system ${units})

# A configuration that is there already is the administrator's.
install(CODE "
  set(config \"\$ENV{DESTDIR}${WEFT_CONFIG_DIR}/weftd.conf\")
  if(EXISTS \"\${config}\")
    message(STATUS \"Kept: \${config}\")
  else()
    file(INSTALL \"${PROJECT_SOURCE_DIR}/conf/weftd.conf\" DESTINATION \"${WEFT_CONFIG_DIR}\")
  endif()"
  COMPONENT service)

if(NOT WEFT_LIBRARIES_INSTALLED)
  return()
endif()

get_property(libraries GLOBAL PROPERTY WEFT_INSTALLED_LIBRARIES)
add_library(weft-module INTERFACE)
set_target_properties(weft-module PROPERTIES EXPORT_NAME module)
add_custom_target(libraries)
add_dependencies(libraries ${libraries})

install(TARGETS ${libraries} weft-module EXPORT weftTargets COMPONENT libraries
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
foreach(folder runtime client daemon)
  install(DIRECTORY ${folder}/include/weft DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
    COMPONENT libraries FILES_MATCHING PATTERN *.h)
endforeach()
install(DIRECTORY docs/guide DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT libraries)
install(FILES docs/asyncio.md DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT libraries)

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/weft)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/weftConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES cmake/weftConfig.cmake cmake/FindLibev.cmake
  ${PROJECT_BINARY_DIR}/weftConfigVersion.cmake DESTINATION ${package} COMPONENT libraries)
install(EXPORT weftTargets NAMESPACE weft:: DESTINATION ${package} COMPONENT libraries)

set(pkgconfig weft.pc.in weft-tls.pc.in weft-dns.pc.in weft-http.pc.in weft-module.pc.in weftclient.pc.in)
list(TRANSFORM pkgconfig PREPEND cmake/pkgconfig/)
weft_install_edited(libraries ${CMAKE_INSTALL_LIBDIR}/pkgconfig ${pkgconfig})
